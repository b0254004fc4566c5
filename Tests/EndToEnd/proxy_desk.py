"""What the tests of the proxy share: a desk with an agent, sites, and clients that go through a proxy."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from armada_agent.sdk.proxy import ProxyManager
from armada_testing.agent import agent_binary
from armada_testing.backend import Answer, Backend, Request
from armada_testing.desk import forget_agent
from armada_testing.mitmproxy import Authority, UpstreamProxy
from armada_testing.processes import wait_until
from armada_testing.procfs import is_alive

DIRECT = {"upstream_proxy_enabled": 1, "upstream_proxy_broker_type": "direct"}
PROVIDER = {"upstream_proxy_enabled": 1, "upstream_proxy_broker_type": "provider"}


@dataclass
class Desk:
    """The sites that requests go to, and the folder of mitmproxy's authority."""

    site: Backend
    secure: Backend
    authority: Authority
    folder: Path
    log: Path
    monkeypatch: pytest.MonkeyPatch

    def set(self, **variables: str) -> None:
        """The variables of the agent that the next call starts."""
        forget_agent()
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)


@contextmanager
def opened_desk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A script at a desk; its agent ends with it. mitmproxy trusts the test's authority by its own `config.yaml`."""
    authority_folder = folder / "mitmproxy"
    authority_folder.mkdir()
    authority = Authority.make(folder)
    (authority_folder / "config.yaml").write_text(f"ssl_verify_upstream_trusted_ca: {authority.certificate}\n")
    log = folder / "agent.log"
    program = folder / "agent"
    program.write_text(f'#!/bin/sh\nexec "{agent_binary()}" "$@" 2>>"{log}"\n')
    program.chmod(0o700)
    with Backend(answer) as site, Backend(answer, tls=authority.server) as secure:
        desk = Desk(site, secure, authority, authority_folder, log, monkeypatch)
        desk.set(
            AGENT_BINARY=str(program),
            AGENT_PROXY_PORT="0",
            AGENT_PROXY_CA_DIRECTORY=str(authority_folder),
        )
        yield desk
        forget_agent()


def answer(request: Request) -> Answer:
    return Answer(200, b"<h1>site</h1>", {"Content-Type": "text/html; charset=utf-8"})


class Client:
    """One connection of a client's to a proxy, which it keeps: plain, or a tunnel to a TLS site."""

    def __init__(self, proxy: ProxyManager, site: Backend) -> None:
        port = int(proxy.url.rpartition(":")[2])
        self._base = ""
        self.connection: http.client.HTTPConnection
        if site.url.startswith("https"):
            context = ssl.create_default_context(cafile=proxy.ca_certificate)
            self.connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
            self.connection.set_tunnel("localhost", site.port)
        else:
            self._base = site.url
            self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, path: str = "/", **headers: str) -> str:
        self.connection.request("GET", self._base + path, headers=headers)
        response = self.connection.getresponse()
        body = response.read().decode()
        return body if response.status == 200 else f"{response.status}: {body}"


def get(proxy: ProxyManager, site: Backend, path: str = "/") -> str:
    """What a site answers through a proxy, over a connection of its own."""
    client = Client(proxy, site)
    try:
        return client.get(path)
    finally:
        client.connection.close()


def wait_dead(pids: list[int]) -> None:
    wait_until(lambda: not any(is_alive(pid) for pid in pids), 30, f"{pids} have ended")


def header(request: Request, name: str) -> Any:
    return request.headers.get(name.lower())


class Provider:
    """Answers `/fetch_proxy` with one upstream after the other."""

    def __init__(self, *upstreams: UpstreamProxy) -> None:
        self.offers: list[Any] = [
            {"proxy_url": upstream.url("http"), "attempt": number, "quality": {"score": 0.5, "checks": [1, None]}}
            for number, upstream in enumerate(upstreams, 1)
        ]

    def __call__(self, request: Request) -> Answer:
        offer = self.offers.pop(0)
        return offer if isinstance(offer, Answer) else Answer(200, json.dumps(offer).encode())
