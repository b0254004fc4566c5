"""Child processes that certainly end, conditions awaited with a deadline, free ports and private directories."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, TypeVar

T = TypeVar("T")

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_DIRECTORY_NAME = re.compile(r"armada-testing-(\d+)-")


class NotReady(Exception):
    """A condition was not met in time, or a process ended before it was."""


def wait_until(condition: Callable[[], T | None], seconds: float, what: str, interval: float = 0.02) -> T:
    """Polls until `condition` returns something true and returns that; `NotReady` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise NotReady(f"not within {seconds:g} s: {what}")
        time.sleep(interval)


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def port_answers(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def private_directory(label: str) -> Iterator[Path]:
    """A temporary directory of this process; also removes those whose process was killed before it could."""
    parent = Path(tempfile.gettempdir())
    for stale in parent.glob("armada-testing-*"):
        match = _DIRECTORY_NAME.match(stale.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            shutil.rmtree(stale, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix=f"armada-testing-{os.getpid()}-{label}-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def signals_as_exit() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP unwind the stack as Ctrl-C does, so that every context manager stops what it started."""

    def unwind(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = {number: signal.signal(number, unwind) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Holds signals back for as long as the block runs: a stop that has begun is not itself interrupted."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def dies_with_parent(number: int) -> Callable[[], None]:
    """For `preexec_fn`: the kernel sends the child this signal when its parent ends, however that happens."""
    parent = os.getpid()

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


class Process:
    """A child in a session of its own that dies with this process, its output in a file."""

    def __init__(
        self, arguments: Sequence[str], log: Path, environment: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self.name = Path(arguments[0]).name
        self.log = log
        self._output: IO[bytes] = log.open("ab")
        self.log_start = self._output.tell()
        self.started = time.monotonic()
        self._stopped = False
        self._child = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGKILL),
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def output(self) -> str:
        """What this process has written so far."""
        with self.log.open("rb") as stream:
            stream.seek(self.log_start)
            return stream.read().decode(errors="replace")

    def tail(self, lines: int = 20) -> str:
        return "\n".join(self.output().splitlines()[-lines:])

    def wait_ready(self, condition: Callable[[], T | None], seconds: float, what: str) -> T:
        """As `wait_until`, but fails at once, with the end of its output, when the process ends first."""

        def check() -> T | None:
            value = condition()
            if not value and not self.running:
                raise NotReady(f"{self.name} ended with status {self._child.returncode} before {what}:\n{self.tail()}")
            return value

        try:
            return wait_until(check, seconds, what)
        except NotReady as error:
            raise NotReady(f"{error}\n{self.tail()}") from None

    def send(self, number: int) -> None:
        """Signals the process alone, as an orchestrator does; a process that is gone is none of our business."""
        if self.running:
            self._child.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Waits for the end; the exit status, negative for a signal."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise NotReady(f"{self.name} did not end within {seconds:g} s:\n{self.tail()}") from None

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20) -> int:
        """Asks it to end, and kills it and what is left of its process group if it does not. The exit status."""
        if self._stopped:
            return self._child.returncode
        with uninterrupted():
            self.send(number)
            try:
                self._child.wait(seconds)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._output.close()
            self._stopped = True
            return self._child.returncode

    def kill(self) -> int:
        return self.stop(signal.SIGKILL)

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def report(message: str) -> None:
    """One line for the person at the terminal."""
    print(message, file=sys.stderr, flush=True)
