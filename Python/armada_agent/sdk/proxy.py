"""A mitmproxy on loopback, before the upstream proxy that the configuration or the provider names."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .. import mitmproxy_packages
from ._configuration import Configuration, json_members
from ._connection import call, call_async
from ._errors import ModuleError
from ._functions import pickled, python_version, unpickled

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow

__all__ = ["ProxyManager", "Upstream"]

Manager = TypeVar("Manager", bound="ProxyManager")
Modifier = Callable[["HTTPFlow"], Any]
Retriever = Callable[["HTTPFlow", Any], Any]

mitmproxy_packages.install()


class Upstream(Mapping[str, Any]):
    """What the provider has answered: `proxy_url`, `attempt` and the checks that were asked for.

    `proxy_url` holds the upstream's credentials; printed, it shows none.
    """

    def __init__(self, facts: Mapping[str, Any], shown: str) -> None:
        self._facts = dict(facts)
        self._shown = shown

    def __getitem__(self, name: str) -> Any:
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def __repr__(self) -> str:
        # Of the rest, which may hold anything, the names alone.
        checks = [name for name in self._facts if name not in ("proxy_url", "attempt")]
        return f"Upstream({self._shown}, attempt={self.attempt}, checks={checks})"

    @property
    def proxy_url(self) -> str:
        """The upstream's URL, with its credentials."""
        return str(self._facts["proxy_url"])

    @property
    def attempt(self) -> Any:
        """The provider's count of its attempts; `None` where it told none."""
        return self._facts.get("attempt")


class ProxyManager:
    """A mitmproxy of this process's, which ends with it.

    Functions that are added run in mitmproxy's process, not in this one: they travel by value as they are when they are
    added, with all that they refer to. `flow` is mitmproxy's own `http.HTTPFlow`. What a function raises is logged, and
    the flow goes on. `async def` functions are awaited.

    Args:
        config: the configuration (`config_proxy` of the agent message), a dictionary or the path of a JSON file, which
            is read now. What is changed in a dictionary counts from the next call on.

    Raises:
        OSError, ValueError, TypeError: the file can't be read, or is not a JSON object.
    """

    def __init__(self, config: Configuration) -> None:
        self.config = config
        self._file = None if isinstance(config, Mapping) else json_members(config)
        self._proxy: str | None = None
        self._facts: dict[str, Any] | None = None
        self._functions: list[dict[str, Any]] = []

    # Life

    def launch_proxy(self: Manager) -> Manager:
        """Start mitmproxy; when this returns, `url` serves requests. Does nothing while it runs.

        Raises:
            ModuleError: a `RuntimeError` with `kind` `configuration`, `port` (it is taken), `mitmproxy` (it can't be
                started; the text has its own words), `function` (one that was added can't run there), or one of the
                provider's: `timeout`, `network`, `status`, `answer`.
            AgentUnavailable: no agent serves this process.
        """
        return self._launched(call("proxy.launch", **self._launch()))

    async def launch_proxy_async(self: Manager) -> Manager:
        """As `launch_proxy`, from asyncio."""
        return self._launched(await call_async("proxy.launch", **self._launch()))

    def exit_local_proxy(self) -> None:
        """End mitmproxy, and every connection through it. What was captured and counted stays."""
        if self._proxy is not None:
            call("proxy.exit", proxy=self._proxy)
        self._facts = None

    async def exit_local_proxy_async(self) -> None:
        """As `exit_local_proxy`, from asyncio."""
        if self._proxy is not None:
            await call_async("proxy.exit", proxy=self._proxy)
        self._facts = None

    def switch_upstream_proxy(self: Manager) -> Manager:
        """Take another upstream: the provider is asked anew. Requests that begin after this go over new connections
        through it; what is in flight goes on to its end through the old one.

        Raises:
            ModuleError: as `launch_proxy`, and `not_launched`; the old upstream then stays.
        """
        return self._switched(call("proxy.switch", **self._switch()))

    async def switch_upstream_proxy_async(self: Manager) -> Manager:
        """As `switch_upstream_proxy`, from asyncio."""
        return self._switched(await call_async("proxy.switch", **self._switch()))

    # Add-ons

    def add_request_modifier(self: Manager, function: Modifier) -> Manager:
        """Run `function(flow)` on each request before it goes upstream; before or after `launch_proxy`.

        Raises:
            TypeError: it can't travel; the text says why.
            ModuleError: with `kind` `function`, it can't run in mitmproxy's process; the text says why.
        """
        return self._added(self._addition("request", function))

    async def add_request_modifier_async(self: Manager, function: Modifier) -> Manager:
        """As `add_request_modifier`, from asyncio."""
        return await self._added_async(self._addition("request", function))

    def add_modifier(self: Manager, function: Modifier) -> Manager:
        """Run `function(flow)` on each response, after the retrievers; else as `add_request_modifier`."""
        return self._added(self._addition("response", function))

    async def add_modifier_async(self: Manager, function: Modifier) -> Manager:
        """As `add_modifier`, from asyncio."""
        return await self._added_async(self._addition("response", function))

    def add_retriever(self: Manager, queue_id: str, function: Retriever) -> Manager:
        """Run `function(flow, queue)` on each response as it came; `queue.put(value)` has `retrieve` return the value.

        Else as `add_request_modifier`.
        """
        return self._added(self._addition("retriever", function, queue_id))

    async def add_retriever_async(self: Manager, queue_id: str, function: Retriever) -> Manager:
        """As `add_retriever`, from asyncio."""
        return await self._added_async(self._addition("retriever", function, queue_id))

    # What came

    def retrieve(self, queue_id: str) -> Any:
        """The newest value of a retriever's queue, which is emptied; `None` when nothing came."""
        return _newest(call("proxy.retrieve", **self._queue(queue_id)) if self._proxy else None)

    async def retrieve_async(self, queue_id: str) -> Any:
        """As `retrieve`, from asyncio."""
        return _newest(await call_async("proxy.retrieve", **self._queue(queue_id)) if self._proxy else None)

    def retrieve_all(self, queue_id: str) -> list[Any]:
        """All values of a retriever's queue in their order; the queue is emptied."""
        return _all(call("proxy.retrieve_all", **self._queue(queue_id)) if self._proxy else ())

    async def retrieve_all_async(self, queue_id: str) -> list[Any]:
        """As `retrieve_all`, from asyncio."""
        return _all(await call_async("proxy.retrieve_all", **self._queue(queue_id)) if self._proxy else ())

    def get_data_count(self) -> int:
        """The bytes of all response bodies so far, as they came over the network (compressed where they were)."""
        return int(call("proxy.data_count", proxy=self._proxy)) if self._proxy else 0

    async def get_data_count_async(self) -> int:
        """As `get_data_count`, from asyncio."""
        return int(await call_async("proxy.data_count", proxy=self._proxy)) if self._proxy else 0

    # Facts

    @property
    def url(self) -> str:
        """Where the proxy listens: `http://127.0.0.1:8081`."""
        return str(self._known("url"))

    @property
    def ca_certificate(self) -> str:
        """The path of the certificate (PEM) of mitmproxy's authority, for clients to trust."""
        return str(self._known("ca_certificate"))

    @property
    def upstream(self) -> Upstream | None:
        """The upstream with what the provider told of it; `None` without one."""
        upstream = self._known("upstream")
        return None if upstream is None else Upstream(upstream, self._known("upstream_shown"))

    def _known(self, name: str) -> Any:
        if self._facts is None:
            raise ModuleError("not_launched", "the proxy is not running: launch_proxy() comes first")
        return self._facts[name]

    def _configuration(self) -> dict[str, Any]:
        members = self._file if self._file is not None else json_members(self.config)
        return {name: json.loads(value) for name, value in members.items()}

    def _launch(self) -> dict[str, Any]:
        return {
            "config": self._configuration(),
            "proxy": self._proxy,
            "functions": self._functions,
            "path": [str(Path(folder).resolve()) for folder in sys.path if Path(folder).is_dir()],
        }

    def _launched(self: Manager, facts: dict[str, Any]) -> Manager:
        self._proxy = facts["proxy"]
        self._facts = facts
        return self

    def _switch(self) -> dict[str, Any]:
        self._known("proxy")
        return {"proxy": self._proxy, "config": self._configuration()}

    def _switched(self: Manager, facts: dict[str, Any]) -> Manager:
        self._facts = {**(self._facts or {}), **facts}
        return self

    def _addition(self, kind: str, function: Callable[..., Any], queue_id: str | None = None) -> dict[str, Any]:
        return {
            "kind": kind,
            "name": str(getattr(function, "__qualname__", type(function).__qualname__)),
            "queue": None if queue_id is None else str(queue_id),
            "python": python_version(),
            "function": base64.b64encode(pickled(function)).decode(),
        }

    def _added(self: Manager, function: dict[str, Any]) -> Manager:
        if self._facts is not None:
            call("proxy.add", proxy=self._proxy, function=function)
        self._functions.append(function)
        return self

    async def _added_async(self: Manager, function: dict[str, Any]) -> Manager:
        if self._facts is not None:
            await call_async("proxy.add", proxy=self._proxy, function=function)
        self._functions.append(function)
        return self

    def _queue(self, queue_id: str) -> dict[str, Any]:
        return {"proxy": self._proxy, "queue": str(queue_id)}


def _newest(data: bytes | None) -> Any:
    return None if data is None else unpickled(data)


def _all(values: list[bytes] | tuple[()]) -> list[Any]:
    return [unpickled(data) for data in values]
