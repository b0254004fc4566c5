"""`python -m armada_testing.tds [PORT]`: a server of its own process, until it is ended; prints how to reach it."""

from __future__ import annotations

import signal
import sys

from ..processes import signals_as_exit
from .server import SQLServer


def main(arguments: list[str]) -> None:
    with signals_as_exit(), SQLServer(port=int(arguments[0]) if arguments else 0) as server:
        for name, value in server.environment.items():
            print(f"{name}={value}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
