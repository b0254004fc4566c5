"""Calls of the agent's modules, from any thread, from asyncio, and from processes that user code forks.

A call takes a connection of this process that is free, or asks for a new one: it makes a pair of sockets and sends one
of them over the connector, which all Python processes of an agent share. A connection has one call at a time. What
interrupts a call (a time limit, Ctrl-C, a cancelled asyncio task) closes its connection, and the agent gives it up.
"""

from __future__ import annotations

import asyncio
import json
import marshal
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any

from .. import connector
from ._errors import AgentUnavailable, ModuleError
from ._values import encode

_VALUE, _ERROR, _PART = 0, 1, 2
# The longest request that the agent takes, in bytes (`ModuleFrame.limit`).
_LIMIT = 64 << 20


class _Pool:
    """The connections of one process that are free."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.free: list[socket.socket] = []
        self.pid = os.getpid()

    def take(self) -> socket.socket:
        if self.pid != os.getpid():
            # A forked process: the connections are its parent's, and so may be the lock.
            self.__init__()  # type: ignore[misc]
        with self.lock:
            if self.free:
                return self.free.pop()
        return _connect()

    def put(self, connection: socket.socket) -> None:
        with self.lock:
            self.free.append(connection)


_pool = _Pool()


def _connect() -> socket.socket:
    """A new connection to the modules."""
    if connector.descriptor < 0:
        from ._launcher import launch

        launch()
    mine, theirs = socket.socketpair()
    with theirs:
        try:
            with socket.socket(fileno=os.dup(connector.descriptor)) as requests:
                socket.send_fds(requests, [b"\0"], [theirs.fileno()])
        except OSError as error:
            mine.close()
            raise AgentUnavailable(f"the agent does not serve this process any more: {error}") from error
    return mine


def _request(method: str, arguments: dict[str, Any]) -> bytes:
    payload = json.dumps(
        {"method": method, "arguments": arguments, "job": _current_job()}, default=encode, separators=(",", ":")
    ).encode("utf-8", "surrogatepass")
    if len(payload) > _LIMIT:
        raise ModuleError(
            "argument",
            f"{method}: found arguments of {len(payload)} bytes, expected at most {_LIMIT} (64 MiB); hand over less at"
            " a time",
        )
    return len(payload).to_bytes(4, "little") + payload


def _current_job() -> str | None:
    """The id of the task that runs in this thread, if one does."""
    state = sys.modules.get("celery._state")
    task = state.get_current_task() if state is not None else None
    return task.request.id if task is not None else None


class _Answer:
    """The answer to a call, without the I/O: takes it apart, and in the end gives the connection back or closes it."""

    def __init__(self, method: str, connection: socket.socket) -> None:
        self.connection = connection
        # Whether all of it has come.
        self.is_whole = False
        # How many bytes are to be received next.
        self.needed = 4
        self._method = method
        self._awaits_length = True
        self._is_error = False
        self._value: Any = None

    def take(self, data: bytearray) -> tuple[Any, ...]:
        """Take the bytes that were needed; a part of the answer, if they are one."""
        if self._awaits_length:
            self._awaits_length = False
            self.needed = int.from_bytes(data, "little")
            return ()
        value = marshal.loads(memoryview(data)[1:])
        if data[0] == _PART:
            self._awaits_length = True
            self.needed = 4
            return (value,)
        self.is_whole = True
        self._is_error = data[0] == _ERROR
        self._value = value
        return ()

    def value(self) -> Any:
        """What comes last, once all is there."""
        if self._is_error:
            raise ModuleError(self._value["kind"], self._value["message"], self._value["details"])
        return self._value

    def __enter__(self) -> _Answer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_whole:
            _pool.put(self.connection)
        else:
            self.connection.close()
        if isinstance(error, (ConnectionError, EOFError)):
            raise AgentUnavailable(f"the agent has ended during a call of {self._method}") from error


def call(method: str, /, **arguments: Any) -> Any:
    """Call a module and wait for its answer."""
    answer = None
    for answer in stream(method, **arguments):  # noqa: B007
        pass
    return answer


def stream(method: str, /, **arguments: Any) -> Iterator[Any]:
    """Call a module: the parts of its answer as they come, then the answer itself."""
    request = _request(method, arguments)
    connection = _pool.take()
    with _Answer(method, connection) as answer:
        connection.sendall(request)
        while not answer.is_whole:
            yield from answer.take(_receive(connection, answer.needed))
    yield answer.value()


def _receive(connection: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data


async def call_async(method: str, /, **arguments: Any) -> Any:
    """Call a module from asyncio. A task that is cancelled meanwhile gives the call up."""
    answer = None
    async for answer in stream_async(method, **arguments):  # noqa: B007
        pass
    return answer


async def stream_async(method: str, /, **arguments: Any) -> AsyncIterator[Any]:
    """As `stream`, from asyncio."""
    request = _request(method, arguments)
    loop = asyncio.get_running_loop()
    connection = _pool.take() if connector.descriptor >= 0 else await asyncio.to_thread(_pool.take)
    with _Answer(method, connection) as answer:
        connection.setblocking(False)
        await loop.sock_sendall(connection, request)
        while not answer.is_whole:
            for part in answer.take(await _receive_async(loop, connection, answer.needed)):
                yield part
        connection.setblocking(True)
    yield answer.value()


async def _receive_async(loop: asyncio.AbstractEventLoop, connection: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = await loop.sock_recv_into(connection, view)
        if not count:
            raise EOFError
        view = view[count:]
    return data
