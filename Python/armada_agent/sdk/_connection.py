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
    is_whole = False
    try:
        connection.sendall(request)
        while True:
            length = int.from_bytes(_receive(connection, 4), "little")
            payload = _receive(connection, length)
            kind = payload[0]
            value = marshal.loads(memoryview(payload)[1:])
            if kind == _PART:
                yield value
                continue
            is_whole = True
            break
    except (ConnectionError, EOFError) as error:
        raise AgentUnavailable(f"the agent has ended during a call of {method}") from error
    finally:
        if is_whole:
            _pool.put(connection)
        else:
            connection.close()
    if kind == _ERROR:
        raise ModuleError(value["kind"], value["message"], value["details"])
    yield value


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
    is_whole = False
    connection.setblocking(False)
    try:
        await loop.sock_sendall(connection, request)
        while True:
            length = int.from_bytes(await _receive_async(loop, connection, 4), "little")
            payload = await _receive_async(loop, connection, length)
            kind = payload[0]
            value = marshal.loads(memoryview(payload)[1:])
            if kind == _PART:
                yield value
                continue
            is_whole = True
            break
    except (ConnectionError, EOFError) as error:
        raise AgentUnavailable(f"the agent has ended during a call of {method}") from error
    finally:
        if is_whole:
            connection.setblocking(True)
            _pool.put(connection)
        else:
            connection.close()
    if kind == _ERROR:
        raise ModuleError(value["kind"], value["message"], value["details"])
    yield value


async def _receive_async(loop: asyncio.AbstractEventLoop, connection: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = await loop.sock_recv_into(connection, view)
        if not count:
            raise EOFError
        view = view[count:]
    return data
