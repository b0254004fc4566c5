"""The text streams that stand for sys.stdout and sys.stderr.

In the main process they write to the real descriptors. In a worker they send each line to the agent together
with the job that is running, so that no line is attributed to the wrong job.
"""

from __future__ import annotations

import io
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

from . import wire

LINE_LIMIT = 65536
Sink = Callable[[int, int, str], None]


class TextStream(io.TextIOBase):
    """A line-buffered text stream over a switchable sink."""

    def __init__(self, descriptor: int, stream: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._stream = stream
        self._pending: list[str] = []
        self._size = 0
        self._sink: Sink | None = None
        self._buffer: io.BufferedWriter | None = None
        self.level = 0
        self.mode = "w"
        self.name = "<stdout>" if descriptor == 1 else "<stderr>"

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    @property
    def line_buffering(self) -> bool:
        return True

    @property
    def buffer(self) -> io.BufferedWriter:
        """The real descriptor, for code that writes bytes."""
        if self._buffer is None:
            self._buffer = io.BufferedWriter(io.FileIO(self._descriptor, "w", closefd=False))
        return self._buffer

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def reconfigure(self, **_: Any) -> None:
        """Accept what `TextIOWrapper` accepts; line buffering and UTF-8 are fixed."""

    def close(self) -> None:
        """Flush; the stream itself stays open, since the process goes on to log."""
        self.flush()

    def redirect(self, sink: Sink) -> None:
        """Hand each line to `sink(stream, level, text)` from now on, in place of the descriptor."""
        self._pending.clear()
        self._size = 0
        self._sink = sink

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        cut = text.rfind("\n") + 1
        if not cut and self._size + len(text) < LINE_LIMIT:
            if text:
                self._pending.append(text)
                self._size += len(text)
            return len(text)
        cut = cut or len(text)
        self._pending.append(text[:cut])
        lines = "".join(self._pending)
        self._pending = [text[cut:]] if cut < len(text) else []
        self._size = len(text) - cut
        self._emit(lines)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Send what `write` holds back only when a job ends: a flush in the middle of a line doesn't split the line."""
        if self._buffer is not None:
            self._buffer.flush()
        if self._sink is None:
            self.finish_line()

    def finish_line(self) -> None:
        """Send an unfinished line."""
        if self._pending:
            lines = "".join(self._pending)
            self._pending = []
            self._size = 0
            self._emit(lines)
        if self._buffer is not None:
            self._buffer.flush()

    def _emit(self, text: str) -> None:
        if self._sink is not None:
            level, self.level = self.level, 0
            self._sink(wire.LOG if level else self._stream, level, text)
            return
        data = memoryview(wire.encode(text))
        while data:
            data = data[os.write(self._descriptor, data) :]


class LevelTag(logging.Filter):
    """Tells the stream of a handler the level of the record about to be written."""

    def __init__(self, stream: TextStream) -> None:
        super().__init__()
        self._target = stream

    def filter(self, record: logging.LogRecord) -> bool:
        self._target.level = record.levelno
        return True


class FrameSink:
    """Sends lines as OUTPUT frames; `job` is the running one, or 0."""

    def __init__(self, connection: socket.socket, lock: threading.RLock) -> None:
        self._connection = connection
        self._lock = lock
        self._pid = os.getpid()
        self.job = 0

    def __call__(self, stream: int, level: int, text: str) -> None:
        data = wire.encode(text)
        if os.getpid() != self._pid:
            # A process that the user's code forked: its frames would mix with the worker's.
            os.write(1 if stream == wire.STDOUT else 2, data)
            return
        for start in range(0, len(data), LINE_LIMIT):
            piece = data[start : start + LINE_LIMIT]
            head = wire.OUTPUT_HEAD.pack(13 + len(piece), wire.OUTPUT, self.job, stream, 0, level & 0xFFFF)
            with self._lock:
                self._connection.sendall(head + piece)


def tag_levels(streams: Iterable[TextStream]) -> None:
    """Give the log handlers that write to one of `streams` the means to tell their records' levels."""
    known = {id(stream): stream for stream in streams}
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):
            target = known.get(id(getattr(handler, "stream", None)))
            if target is not None and not any(isinstance(each, LevelTag) for each in handler.filters):
                handler.addFilter(LevelTag(target))
