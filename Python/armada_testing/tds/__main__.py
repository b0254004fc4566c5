"""`python -m armada_testing.tds`: a server of its own process, until it is ended; prints how to reach it."""

from __future__ import annotations

import argparse
import signal
import sys

from ..processes import signals_as_exit
from .server import SQLServer


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m armada_testing.tds", description="A small SQL Server for tests.")
    parser.add_argument("--port", type=int, default=0, help="any free one by default")
    parser.add_argument("--encryption", choices=["off", "login", "required"], default="off")
    options = parser.parse_args(arguments)
    with signals_as_exit(), SQLServer(options.encryption, options.port) as server:
        for name, value in server.environment.items():
            print(f"{name}={value}")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
