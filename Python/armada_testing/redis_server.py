"""A Redis of one's own on loopback, in memory only."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Sequence
from types import TracebackType

from .processes import NotReady, Process, free_port, private_directory


class Redis:
    """`with Redis() as store:` starts one; `arguments` are further options of `redis-server`."""

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self.host = "127.0.0.1"
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._arguments = list(arguments)
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> Redis:
        self.start()
        return self

    def start(self) -> None:
        """Starts it, again on the same port after `stop`, and then empty."""
        server = shutil.which("redis-server")
        if server is None:
            raise NotReady("Redis is not installed: run scripts/setup or `apt install redis-server`")
        with contextlib.ExitStack() as resources:
            home = resources.enter_context(private_directory("redis"))
            options = [
                "--bind",
                "127.0.0.1",
                "--port",
                str(self.port),
                "--dir",
                str(home),
                "--save",
                "",
                "--appendonly",
                "no",
            ]
            environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "HOME": str(home)}
            process = Process([server, *options, *self._arguments], home / "redis.log", environment)
            resources.enter_context(process)
            process.wait_ready(self._answers, 20, "Redis answers")
            self._resources = resources.pop_all()

    def stop(self) -> None:
        self._resources.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                # Any reply will do: with a password required it is an error, and that is an answer, too.
                return connection.recv(1) in (b"+", b"-")
        except OSError:
            return False
