"""The add-on: has requests take the agent's route, and runs the user's functions on them.

Each command of the agent's has an `id`, by which it is answered, with an `error` where it could not be done:

| `do` | |
|---|---|
| `route` | `port`: the agent's relay on loopback through which new connections go from now on |
| `path` | `folders`: of the worker's search path, for what the user's functions import |
| `add` | `kind` (`request`, `response`, `retriever`), `name`, `python`, `queue`, `function` (pickled, in base64) |
| `sync` | answered once all that was told before has been sent |

What it tells by itself has a `type`: `ready` (`port`), `value` (`queue`; the body is the pickled value),
`count` (`bytes` of a response's body), `raised` (`function`, `error`, `times`; the body is the traceback).
"""

from __future__ import annotations

import asyncio
import base64
import collections
import os
import sys
import traceback
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.connection import Client, Server
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from ..sdk._functions import python_version
from .channel import Channel
from .functions import Function, Queue

Route = tuple[str, tuple[str, int]]

# Of one client, at the same time.
_CONNECTIONS = 1000
# For the other add-ons' ends.
_LEAVE_SECONDS = 0.05


class Addon:
    """One per mitmdump. Its methods are mitmproxy's hooks."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._commands: asyncio.Task[None] | None = None
        # None until the agent has told one: then mitmproxy's own, of its command line, holds.
        self._route: Route | None = None
        self._former: set[tuple[str, int]] = set()
        self._functions: dict[str, list[Function]] = {"request": [], "response": [], "retriever": []}

    async def running(self) -> None:
        await self._channel.open()
        port = ctx.master.addons.get("proxyserver").listen_addrs()[0][1]
        # Before any answer.
        self._channel.send({"type": "ready", "port": port})
        self._commands = asyncio.create_task(self._serve())

    def client_connected(self, client: Client) -> None:
        # mitmproxy opens five connections to one address for a client, and then waits until one of them ends. To the
        # relay all go to one address: a client that asks six hosts over one connection would wait for ever.
        handler = ctx.master.addons.get("proxyserver").connections.get(client.id)
        if handler is not None:
            handler.max_conns = collections.defaultdict(lambda: asyncio.Semaphore(_CONNECTIONS))

    def done(self) -> None:
        # mitmproxy would go on to wait for connections that are open.
        asyncio.get_running_loop().call_later(_LEAVE_SECONDS, os._exit, 0)

    def http_connect(self, flow: http.HTTPFlow) -> None:
        self._direct(flow)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        # A body that is not waited for leaves from here on.
        self._direct(flow)

    async def request(self, flow: http.HTTPFlow) -> None:
        before = flow.server_conn.via
        for function in self._functions["request"]:
            await function(flow)
        # The route may have changed while the body or a function was waited for. One that a function chose stays.
        if not flow.request.stream and flow.server_conn.via == before:
            self._direct(flow)

    async def response(self, flow: http.HTTPFlow) -> None:
        body = flow.response.raw_content if flow.response is not None else None
        if body:
            self._channel.send({"type": "count", "bytes": len(body)})
        # Retrievers see the response as it came.
        for function in self._functions["retriever"] + self._functions["response"]:
            await function(flow)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        # Between the choice of a route and the connection the route may have changed.
        if self._route is not None and data.server.address in self._former:
            data.server.address = self._route[1]

    def _direct(self, flow: http.HTTPFlow) -> None:
        """Have a flow take the route of now. mitmproxy reuses no connection of another route."""
        if self._route is not None and flow.server_conn.via != self._route:
            if flow.server_conn.timestamp_start is not None:
                # A connection that has begun keeps its route, and goes on for the flows that it has.
                flow.server_conn = Server(address=flow.server_conn.address)
            flow.server_conn.via = self._route

    async def _serve(self) -> None:
        """Do as the agent says; without an agent there is no proxy."""
        while (head := await self._channel.receive()) is not None:
            answer: dict[str, Any] = {"type": "answer", "id": head["id"]}
            try:
                self._do(head)
            except Exception as error:
                answer["error"] = "".join(traceback.format_exception_only(error)).strip()
            self._channel.send(answer)
        ctx.master.shutdown()

    def _do(self, head: dict[str, Any]) -> None:
        match head["do"]:
            case "route":
                if self._route is not None:
                    self._former.add(self._route[1])
                self._route = ("http", ("127.0.0.1", head["port"]))
                self._former.discard(self._route[1])
            case "path":
                sys.path += [folder for folder in head["folders"] if folder not in sys.path]
            case "add":
                if head["python"] != python_version():
                    raise RuntimeError(
                        f"mitmdump runs on {python_version()}, the function is {head['python']}'s: both have to be of"
                        " one version"
                    )
                pickled = base64.b64decode(head["function"])
                arguments = [Queue(self._channel, head["queue"])] if head["kind"] == "retriever" else []
                self._functions[head["kind"]].append(Function(self._channel, head["name"], pickled, *arguments))
            case "sync":
                pass
            case unknown:
                raise ValueError(f"unknown command {unknown!r}")
