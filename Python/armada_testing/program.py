"""A program that a test starts, and may start again."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from .processes import Process, uninterrupted

T = TypeVar("T", bound="Program")


class Program:
    """`with Program(…) as program:` starts it, with the same settings each time."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path | None = None
    ) -> None:
        self._command = command
        self._log = log
        self._environment = environment
        self._folder = folder
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        if self._process is None:
            raise RuntimeError(f"{type(self).__name__} was not started")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.running

    def start(self) -> None:
        self._process = Process(self._command, self._log, self._environment, cwd=self._folder)

    def warm(self, seconds: float = 30) -> int:
        """SIGTERM: what runs ends. The exit status."""
        self.process.send(signal.SIGTERM)
        return self.process.wait(seconds)

    def cold(self, seconds: float = 30) -> int:
        """SIGQUIT: what runs is ended. The exit status."""
        self.process.send(signal.SIGQUIT)
        return self.process.wait(seconds)

    def output(self) -> str:
        return self.process.output()

    def __enter__(self: T) -> T:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not an orderly stop, which a test makes itself: nothing may be left over, whatever state it is in.
        with uninterrupted():
            self.process.kill()
