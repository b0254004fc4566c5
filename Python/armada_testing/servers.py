"""`python -m armada_testing.servers rabbitmq [redis] -- COMMAND…`: runs a command beside servers of its own.

COMMAND finds `AMQP_TEST_URL` and `REDIS_TEST_URL` in its environment. The exit status is the command's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

from .processes import NotReady, dies_with_parent, report, signals_as_exit
from .rabbitmq import RabbitMQ
from .redis_server import Redis

USAGE = "usage: python -m armada_testing.servers [rabbitmq] [redis] -- COMMAND [ARGUMENT …]"


def run(services: list[str], command: list[str]) -> int:
    """Starts the services, runs the command in the foreground, stops the services."""
    environment = dict(os.environ)
    with signals_as_exit(), contextlib.ExitStack() as resources:
        if "rabbitmq" in services:
            environment["AMQP_TEST_URL"] = resources.enter_context(RabbitMQ()).url
        if "redis" in services:
            environment["REDIS_TEST_URL"] = resources.enter_context(Redis()).url
        child = subprocess.Popen(command, env=environment, preexec_fn=dies_with_parent(signal.SIGTERM))
        try:
            while True:
                with contextlib.suppress(KeyboardInterrupt):  # The command shares the terminal and decides itself.
                    return child.wait()
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(10)
                child.kill()


def main(arguments: list[str]) -> int:
    services, separator, command = (
        (arguments[: arguments.index("--")], "--", arguments[arguments.index("--") + 1 :])
        if "--" in arguments
        else (arguments, "", [])
    )
    if not separator or not command or not services or set(services) - {"rabbitmq", "redis"}:
        report(USAGE)
        return 64
    try:
        status = run(services, command)
    except NotReady as error:
        report(f"servers: {error}")
        return 69
    except FileNotFoundError as error:
        report(f"servers: {error}")
        return 127
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
