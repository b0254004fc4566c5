"""Writes to the result backend, which may be down or hang: a forked process, the clerk, makes them one after another.

The main process keeps each call until it is answered. One that fails since the backend is down is made again, after
others that wait; a clerk that hangs is killed, and only the call that it was making has lost an attempt.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from . import wire
from .calls import CallError, perform
from .load import Loaded

# How many calls, and bytes of them, may wait.
CALL_LIMIT = 1000
SIZE_LIMIT = 64 * 1024 * 1024
# How often a call is made before its failure is told, and the pauses in between, in seconds.
ATTEMPT_LIMIT = 40
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
# An attempt may take this part of the time that a call has.
ATTEMPTS_IN_TIME = 3


@dataclass
class Call:
    """A call that has not been answered. Times are of a monotonic clock, in seconds."""

    identity: int
    payload: bytes
    deadline: float
    attempt_seconds: float
    due: float = 0.0
    attempts: int = 0
    kind: str = "TimeoutError"
    reason: str = "others kept the result backend busy"


class Overloaded(Exception):
    """Too much waits already."""


class CallBook:
    """Which call is made when. It does nothing itself, and is told the time."""

    def __init__(self) -> None:
        self.waiting: list[Call] = []
        self.current: Call | None = None
        # When the attempt that is being made is given up.
        self.attempt_end = 0.0
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self.current or self.waiting)

    def add(self, call: Call) -> None:
        """Take a call, if there is room."""
        count = len(self.waiting) + (self.current is not None)
        # A single call may be of any size.
        if count >= CALL_LIMIT or (self.size and self.size + len(call.payload) > SIZE_LIMIT):
            raise Overloaded(f"{count} calls of {self.size} bytes wait for the result backend")
        self.waiting.append(call)
        self.size += len(call.payload)

    def begin(self, now: float) -> Call | None:
        """The call to be made now, if it is time for one."""
        if self.current is not None:
            return None
        for place, call in enumerate(self.waiting):
            if call.due <= now:
                del self.waiting[place]
                call.attempts += 1
                self.current = call
                self.attempt_end = min(now + call.attempt_seconds, call.deadline)
                return call
        return None

    def end(self) -> Call | None:
        """The call that was being made has been answered for good."""
        call, self.current = self.current, None
        if call is not None:
            self.size -= len(call.payload)
        return call

    def fail(self, now: float, kind: str, reason: str) -> Call | None:
        """The attempt has failed; the call if it was the last one, None if it is made again."""
        call = self.current
        if call is None:
            return None
        call.kind, call.reason = kind, reason
        call.due = now + min(FIRST_PAUSE * 2 ** (call.attempts - 1), LONGEST_PAUSE)
        if call.attempts >= ATTEMPT_LIMIT or call.due >= call.deadline:
            return self.end()
        self.current = None
        self.waiting.append(call)
        return None

    def hangs(self, now: float) -> bool:
        """Whether the attempt that is being made has taken too long."""
        return self.current is not None and self.attempt_end <= now

    def expired(self, now: float) -> list[Call]:
        """Take out the calls whose time is over while they wait."""
        found = [call for call in self.waiting if call.deadline <= now]
        for call in found:
            self.waiting.remove(call)
            self.size -= len(call.payload)
        return found

    def next_moment(self) -> float | None:
        """When there is something to do, if nothing is answered before."""
        moments = [call.deadline for call in self.waiting]
        if self.current is not None:
            moments.append(self.attempt_end)
        else:
            moments += [call.due for call in self.waiting]
        return min(moments, default=None)


class Clerk:
    """The main process's side: the book, and the process that makes the calls.

    `fork` starts that process with one end of a socket: its process id, and the other end. `tell` passes on an answer:
    the frame's type, the call, and the rest of the payload.
    """

    def __init__(self, fork: Callable[[], tuple[int, socket.socket]], tell: Callable[[int, int, bytes], None]) -> None:
        self.fork = fork
        self.tell = tell
        self.book = CallBook()
        self.pid = 0
        self.connection: socket.socket | None = None
        self.outgoing = memoryview(b"")
        self.incoming = bytearray()
        self.is_stale = False
        self.is_down = False

    def call(self, identity: int, milliseconds: int, payload: bytes) -> None:
        """Take a call: a CALL frame's payload."""
        seconds = milliseconds / 1000
        try:
            self.book.add(Call(identity, payload, time.monotonic() + seconds, seconds / ATTEMPTS_IN_TIME))
        except Overloaded as error:
            self.tell_failure(identity, "Overloaded", str(error))
            return
        self.work()

    @property
    def descriptor(self) -> int:
        """To be watched; -1 for none."""
        return self.connection.fileno() if self.connection is not None else -1

    @property
    def writes(self) -> bool:
        """Whether the descriptor is to be watched for room, too."""
        return bool(self.outgoing)

    def work(self) -> None:
        """Do what can be done without waiting; to be called when the descriptor is ready, or `timeout` is over."""
        self.receive()
        now = time.monotonic()
        if self.book.hangs(now):
            self.fail("TimeoutError", "the result backend does not answer")
        for call in self.book.expired(now):
            self.tell_failure(call.identity, call.kind, call.reason)
        if self.is_stale and self.book.current is None:
            self.stop()
        begun = self.book.begin(now)
        if begun is not None and self.start():
            self.outgoing = memoryview(wire.HEADER.pack(1 + len(begun.payload), wire.CALL) + begun.payload)
        self.send()

    def start(self) -> bool:
        """See that there is a process."""
        if self.connection is None:
            try:
                self.pid, self.connection = self.fork()
            except OSError as error:
                self.fail("ClerkLost", f"no process can be started: {error}")
                return False
            self.connection.setblocking(False)
        return True

    def timeout(self) -> float | None:
        """Seconds until `work` has something to do, if nothing comes before."""
        moment = self.book.next_moment()
        return None if moment is None else max(0.0, moment - time.monotonic())

    def replace(self) -> None:
        """Have another process make the calls after the present one: the project's code has changed."""
        self.is_stale = True
        self.work()

    def send(self) -> None:
        """Write as much of the call as the socket takes."""
        while self.outgoing and self.connection is not None:
            try:
                self.outgoing = self.outgoing[self.connection.send(self.outgoing) :]
            except BlockingIOError:
                return
            except OSError:
                # Its end is found when the socket is read.
                self.outgoing = memoryview(b"")

    def receive(self) -> None:
        """Read what has come: an answer, or the end of the process."""
        while self.connection is not None:
            try:
                data = self.connection.recv(1 << 18)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.fail("ClerkLost", "the process that writes to the result backend has ended")
                return
            self.incoming += data
            if len(self.incoming) < wire.HEADER.size:
                continue
            length, kind = wire.HEADER.unpack_from(self.incoming)
            if len(self.incoming) >= 4 + length:
                answer = bytes(self.incoming[wire.HEADER.size :])
                self.incoming.clear()
                self.answered(kind, answer)

    def answered(self, kind: int, answer: bytes) -> None:
        """The clerk has made the call."""
        if kind == wire.CALL_FAILED and answer[0]:
            name, reason = wire.split_sized(answer[1:])
            self.note_failure(self.book.fail(time.monotonic(), name, reason), name, reason)
            return
        call = self.book.end()
        if call is None:
            return
        if self.is_down and kind == wire.REPLY:
            self.is_down = False
            logging.getLogger(__name__).warning("The result backend takes writes again")
        self.tell(kind, call.identity, answer[1:] if kind == wire.CALL_FAILED else answer)

    def fail(self, kind: str, reason: str) -> None:
        """The process is of no use any more: it hangs, or it is gone."""
        self.stop()
        if self.book.current is not None:
            self.note_failure(self.book.fail(time.monotonic(), kind, reason), kind, reason)

    def note_failure(self, given_up: Call | None, kind: str, reason: str) -> None:
        """An attempt has failed: tell of the call if it was its last, and of the backend if this is new."""
        if given_up is not None:
            self.tell_failure(given_up.identity, kind, reason)
        if not self.is_down:
            self.is_down = True
            logging.getLogger(__name__).warning(
                "The result backend fails; what is to be written to it is tried again: %s: %s", kind, reason
            )

    def tell_failure(self, identity: int, kind: str, reason: str) -> None:
        self.tell(wire.CALL_FAILED, identity, wire.sized(kind) + wire.sized(reason))

    def stop(self) -> None:
        """End the process."""
        self.is_stale = False
        self.outgoing = memoryview(b"")
        self.incoming.clear()
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except OSError:
                pass
            self.pid = 0


def serve(loaded: Loaded, connection: socket.socket) -> None:
    """In the clerk: make calls until the main process is gone."""
    for module in ("billiard.util", "multiprocessing.util"):
        __import__(module, fromlist=["_run_after_forkers"])._run_after_forkers()
    while True:
        try:
            _, message = wire.receive_frame(connection)
        except wire.ConnectionLost:
            return
        _, _, length = wire.CALL_HEAD.unpack_from(message)
        start = wire.CALL_HEAD.size
        kind = wire.REPLY
        try:
            arguments = json.loads(message[start + length :] or b"null")
            answer = perform(loaded, message[start : start + length].decode(), arguments)
            data = json.dumps(answer, default=str).encode()
        except Exception as error:
            kind = wire.CALL_FAILED
            data = b"".join((bytes([may_pass(error)]), wire.sized(type(error).__name__), wire.sized(str(error), 10000)))
        wire.send_frame(connection, kind, data)


def may_pass(error: Exception) -> bool:
    """Whether an error may be gone at the next attempt.

    What is wrong with the call itself stays so. All else does not, as far as can be known: the clients of backends
    raise errors of their own for servers that can't be reached, start, are full, or have become replicas.
    """
    from celery.exceptions import ImproperlyConfigured
    from kombu.exceptions import ContentDisallowed, SerializationError

    lasting = (
        CallError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ImportError,
        NotImplementedError,
        ImproperlyConfigured,
        ContentDisallowed,
        SerializationError,
    )
    return not isinstance(error, lasting)
