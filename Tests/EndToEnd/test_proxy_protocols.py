"""Switching upstreams under HTTP/2 and WebSockets: many requests on one connection, and one that goes on for long."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from armada_agent import mitmproxy_packages
from armada_agent.sdk.proxy import ProxyManager
from armada_testing.backend import Answer, Backend, Request
from armada_testing.mitmproxy import UpstreamProxy

from .proxy_desk import PROVIDER, Desk, Provider, opened_desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        opened_desk(tmp_path_factory.mktemp("desk"), monkeypatch) as desk,
    ):
        (desk.folder / "config.yaml").write_text("ssl_insecure: true\n")
        yield desk


@pytest.fixture(scope="module")
def upstreams(desk: Desk) -> Iterator[tuple[UpstreamProxy, UpstreamProxy]]:
    """The first one, and the one that a switch leads to."""
    folder = desk.folder.parent
    with (
        UpstreamProxy(folder / "first", credentials="user:password") as first,
        UpstreamProxy(folder / "second") as second,
    ):
        yield first, second


@pytest.fixture
def proxy(desk: Desk, upstreams: tuple[UpstreamProxy, UpstreamProxy]) -> Iterator[ProxyManager]:
    with Backend(Provider(*upstreams)) as provider:
        desk.set(PROXY_PROVIDER_URL=provider.url)
        yield ProxyManager(PROVIDER).launch_proxy()


def tunnel(proxy: ProxyManager, port: int) -> socket.socket:
    """A connection through the proxy to a port of localhost."""
    connection = socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), timeout=30)
    connection.sendall(f"CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
    assert read_head(connection).startswith(b"HTTP/1.1 200")
    return connection


def read_head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = connection.recv(1)
        assert part, head
        head += part
    return head


def requested(upstream: UpstreamProxy) -> list[str]:
    """The paths of the requests that came through an upstream."""
    return [fact["target"].partition("//")[2].partition("/")[2] for fact in upstream.told("request")]


class HTTP2:
    """A client with one connection, on which any number of requests run at the same time."""

    def __init__(self, proxy: ProxyManager, port: int) -> None:
        folder = mitmproxy_packages.site_packages()
        assert folder is not None
        if folder not in sys.path:
            sys.path.append(folder)
        from h2.connection import H2Connection

        context = ssl.create_default_context(cafile=proxy.ca_certificate)
        context.set_alpn_protocols(["h2"])
        self.socket = context.wrap_socket(tunnel(proxy, port), server_hostname="localhost")
        assert self.socket.selected_alpn_protocol() == "h2"
        self._port = port
        self._bodies: dict[int, bytes] = {}
        self._ended: set[int] = set()
        self._connection: Any = H2Connection()
        self._connection.initiate_connection()

    def ask(self, path: str) -> int:
        stream: int = self._connection.get_next_available_stream_id()
        authority = f"localhost:{self._port}"
        headers = [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", path)]
        self._connection.send_headers(stream, headers, end_stream=True)
        self.socket.sendall(self._connection.data_to_send())
        return stream

    def body(self, stream: int) -> bytes:
        while stream not in self._ended:
            data = self.socket.recv(65536)
            assert data, "the connection has ended"
            for event in self._connection.receive_data(data):
                name = type(event).__name__
                if name == "DataReceived":
                    self._bodies[event.stream_id] = self._bodies.get(event.stream_id, b"") + event.data
                elif name in ("StreamEnded", "StreamReset"):
                    self._ended.add(event.stream_id)
            self.socket.sendall(self._connection.data_to_send())
        return self._bodies.get(stream, b"")


def test_http2(desk: Desk, proxy: ProxyManager, upstreams: tuple[UpstreamProxy, UpstreamProxy]) -> None:
    first, second = upstreams
    gate, begun = threading.Event(), threading.Event()

    def answer(request: Request) -> Answer:
        if request.path == "/held":
            begun.set()
            gate.wait(60)
        return Answer(200, request.path.encode())

    with ExitStack() as resources:
        behind = resources.enter_context(Backend(answer))
        # mitmproxy itself is the site that speaks HTTP/2.
        home = desk.folder.parent / "site"
        site = resources.enter_context(UpstreamProxy(home, mode=f"reverse:{behind.url}"))
        resources.callback(gate.set)
        client = HTTP2(proxy, site.port)
        assert client.body(client.ask("/one")) == b"/one"
        held = client.ask("/held")
        assert begun.wait(30)
        proxy.switch_upstream_proxy()
        # On the connection that there is, while the one before is still being answered.
        assert client.body(client.ask("/two")) == b"/two"
        assert held not in client._ended
        gate.set()
        assert client.body(held) == b"/held"
        assert client.body(client.ask("/three")) == b"/three"
        assert [path for path in requested(first) if path in ("one", "held", "two", "three")] == ["one", "held"]
        assert [path for path in requested(second) if path in ("one", "held", "two", "three")] == ["two", "three"]


def test_websockets(proxy: ProxyManager, upstreams: tuple[UpstreamProxy, UpstreamProxy]) -> None:
    with WebSocketSite() as site:
        opened = WebSocket(proxy, site.port, "/before")
        assert opened.said("one") == "one"
        proxy.switch_upstream_proxy()
        assert opened.said("two") == "two"
        another = WebSocket(proxy, site.port, "/after")
        assert another.said("three") == "three"
        assert opened.said("four") == "four"
        first, second = upstreams
        assert "before" in requested(first)
        assert "after" in requested(second)
        assert "after" not in requested(first)
        opened.close()
        another.close()


class WebSocketSite:
    """`with WebSocketSite() as site:` says back what it is told (RFC 6455), in short texts."""

    def __enter__(self) -> WebSocketSite:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    @staticmethod
    def _serve(connection: socket.socket) -> None:
        with connection:
            head = read_head(connection).decode().splitlines()
            key = next(line.partition(": ")[2] for line in head if line.lower().startswith("sec-websocket-key"))
            digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            accept = base64.b64encode(digest).decode()
            connection.sendall(
                f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
            )
            while (text := receive_text(connection)) is not None:
                connection.sendall(bytes([0x81, len(text)]) + text)


class WebSocket:
    """A client's, by a tunnel, as browsers open one through a proxy."""

    def __init__(self, proxy: ProxyManager, port: int, path: str) -> None:
        self._connection = tunnel(proxy, port)
        key = base64.b64encode(os.urandom(16)).decode()
        self._connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = read_head(self._connection)
        assert head.startswith(b"HTTP/1.1 101"), head

    def said(self, text: str) -> str:
        """What is answered to a text."""
        # Masked with zeros.
        self._connection.sendall(bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text.encode())
        answer = receive_text(self._connection)
        assert answer is not None
        return answer.decode()

    def close(self) -> None:
        self._connection.close()


def receive_text(connection: socket.socket) -> bytes | None:
    """The next short text; `None` at the end."""

    def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = connection.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    try:
        kind, length = exactly(2)
        mask = exactly(4) if length & 0x80 else b"\0\0\0\0"
        data = exactly(length & 0x7F)
    except (EOFError, OSError):
        return None
    if kind & 0x0F != 1:
        return None
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
