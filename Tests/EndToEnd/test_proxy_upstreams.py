"""The proxy before real upstream proxies: each scheme, credentials, the provider, and switching between them."""

from __future__ import annotations

import socket
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from armada_agent.sdk import ModuleError
from armada_agent.sdk.proxy import ProxyManager, Upstream
from armada_testing.backend import Answer, Backend, Request
from armada_testing.mitmproxy import UpstreamProxy, arguments_and_logs, mitmdumps
from armada_testing.processes import free_port

from .proxy_desk import DIRECT, PROVIDER, Client, Desk, Provider, get, opened_desk

SITE = "<h1>site</h1>"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        opened_desk(tmp_path_factory.mktemp("desk"), monkeypatch) as desk,
    ):
        yield desk


@pytest.fixture(scope="module")
def upstreams(desk: Desk) -> Iterator[dict[str, UpstreamProxy]]:
    # They read what comes by TLS, too, by certificates that mitmproxy does not know.
    with (desk.folder / "config.yaml").open("a") as file:
        file.write("ssl_insecure: true\n")
    with ExitStack() as resources:
        made = {
            "open": UpstreamProxy(desk.folder.parent / "open"),
            "closed": UpstreamProxy(desk.folder.parent / "closed", credentials="us3r:s@cr3t"),
            "socks": UpstreamProxy(desk.folder.parent / "socks", credentials="us3r:s@cr3t", mode="socks5"),
        }
        yield {name: resources.enter_context(upstream) for name, upstream in made.items()}


@pytest.fixture(autouse=True)
def answers(desk: Desk) -> None:
    desk.site.answer = desk.secure.answer = lambda _: Answer(200, SITE.encode(), {"Content-Type": "text/html"})


class TestSchemes:
    @pytest.mark.parametrize(
        ("name", "scheme"),
        [("open", "http"), ("closed", "http"), ("closed", "https"), ("socks", "socks5"), ("socks", "socks5h")],
    )
    def test_requests_come_through_the_upstream(
        self, desk: Desk, upstreams: dict[str, UpstreamProxy], name: str, scheme: str
    ) -> None:
        upstream = upstreams[name]
        url = upstream.url(scheme, "localhost")
        desk.set(PROXY_PROVIDER_URL=url, AGENT_PROXY_UPSTREAM_CA=str(upstream.authority))
        manager = ProxyManager(DIRECT).launch_proxy()
        before = len(upstream.told())
        plain, secure = Client(manager, desk.site), Client(manager, desk.secure)
        for _ in range(2):
            # A request without its credentials would be answered with 407.
            assert (plain.get("/plain"), secure.get("/secure")) == (SITE, SITE)
        told = [fact["target"] for fact in upstream.told()[before:] if fact["kind"] == "request"]
        assert sorted(told) == sorted([f"{desk.site.url}/plain", f"{desk.secure.url}/secure"] * 2)
        assert manager.upstream is not None
        assert (manager.upstream["proxy_url"], manager.upstream.proxy_url) == (url, url)
        everywhere = arguments_and_logs(desk.log.read_text()) + repr(manager.upstream)
        for pid in mitmdumps(desk.folder):
            everywhere += Path(f"/proc/{pid}/environ").read_text()
        for secret in ("s@cr3t", "s%40cr3t", "dXMzcjpzQGNyM3Q"):
            assert secret not in everywhere

    def test_wrong_credentials(self, desk: Desk, upstreams: dict[str, UpstreamProxy]) -> None:
        desk.set(PROXY_PROVIDER_URL=upstreams["closed"].url("http").replace("us3r", "other"))
        manager = ProxyManager(DIRECT).launch_proxy()
        assert get(manager, desk.site)[:3] in ("407", "502")
        assert get(manager, desk.secure).startswith("502")
        assert "refused our credentials" in desk.log.read_text()

    def test_an_upstream_that_is_not_there(self, desk: Desk) -> None:
        desk.set(PROXY_PROVIDER_URL=f"http://user:secret@127.0.0.1:{free_port()}")
        manager = ProxyManager(DIRECT).launch_proxy()
        answer = get(manager, desk.site)
        assert answer.startswith("502")
        assert "secret" not in answer + desk.log.read_text()


@pytest.fixture
def provider(desk: Desk, upstreams: dict[str, UpstreamProxy]) -> Iterator[Backend]:
    with Backend(Provider(upstreams["closed"], upstreams["open"], upstreams["closed"])) as backend:
        desk.set(PROXY_PROVIDER_URL=backend.url)
        yield backend


class TestProvider:
    def test_it_is_asked_at_the_launch_and_at_each_switch(
        self, desk: Desk, provider: Backend, upstreams: dict[str, UpstreamProxy]
    ) -> None:
        config = {
            **PROVIDER,
            "proxy_provider_name": "a & b",
            "proxy_location": "FR",
            "verify_ip": 0,
            "verify_quality": 1,
            "quality_threshold": 0.5,
            "proxy_type": None,
        }
        manager = ProxyManager(config).launch_proxy()
        asked = urllib.parse.urlsplit(provider.requests[0].path)
        assert asked.path == "/fetch_proxy"
        assert dict(urllib.parse.parse_qsl(asked.query)) == {
            "upstream_proxy_enabled": "1",
            "upstream_proxy_broker_type": "provider",
            "proxy_provider_name": "a & b",
            "proxy_location": "FR",
            "verify_quality": "1",
            "quality_threshold": "0.5",
        }
        assert isinstance(manager.upstream, Upstream)
        assert dict(manager.upstream) == {
            "proxy_url": upstreams["closed"].url("http"),
            "attempt": 1,
            "quality": {"score": 0.5, "checks": [1, None]},
        }
        assert manager.upstream.attempt == 1
        host = f"127.0.0.1:{upstreams['closed'].port}"
        assert repr(manager.upstream) == f"Upstream(http://***@{host}, attempt=1, checks=['quality'])"

        plain, secure = Client(manager, desk.site), Client(manager, desk.secure)
        assert (plain.get(), secure.get()) == (SITE, SITE)
        before = {name: len(upstream.told()) for name, upstream in upstreams.items()}
        # What was changed in the dictionary counts.
        config["proxy_location"] = "DE"
        assert manager.switch_upstream_proxy() is manager
        assert "proxy_location=DE" in provider.requests[1].path
        assert manager.upstream.attempt == 2
        # Over the connections that the clients have: what they ask from now on takes the new upstream.
        assert (plain.get("/second"), secure.get("/second")) == (SITE, SITE)
        assert len(upstreams["closed"].told()) == before["closed"]
        assert len(upstreams["open"].told()) > before["open"]

    @pytest.mark.parametrize(
        ("answer", "kind", "text"),
        [
            (Answer(200, b"no json"), "answer", "a body that is not JSON"),
            (Answer(200, b'{"attempt": 1}'), "answer", "an object that has none"),
            (Answer(200, b'{"proxy_url": "ftp://u:s3cr3t@h:1"}'), "answer", "'proxy_url' that can't be used"),
            (Answer(404, b"nothing fits"), "status", "HTTP 404"),
        ],
    )
    def test_when_it_fails_in_a_switch_the_old_upstream_stays(
        self,
        desk: Desk,
        upstreams: dict[str, UpstreamProxy],
        provider: Backend,
        answer: Answer,
        kind: str,
        text: str,
    ) -> None:
        manager = ProxyManager(PROVIDER).launch_proxy()
        client = Client(manager, desk.site)
        assert client.get() == SITE
        provider.answer = lambda _: answer
        with pytest.raises(ModuleError, match=text) as caught:
            manager.switch_upstream_proxy()
        assert caught.value.kind == kind
        assert "s3cr3t" not in str(caught.value)
        before = len(upstreams["closed"].told())
        assert client.get() == get(manager, desk.secure) == SITE
        assert len(upstreams["closed"].told()) > before
        assert manager.upstream is not None
        assert manager.upstream.attempt == 1


class TestSwitching:
    @pytest.mark.parametrize("kind", ["plain", "secure"])
    def test_what_is_in_flight_goes_on(
        self, desk: Desk, provider: Backend, upstreams: dict[str, UpstreamProxy], kind: str
    ) -> None:
        site = desk.site if kind == "plain" else desk.secure
        manager = ProxyManager(PROVIDER).launch_proxy()
        gate, begun = threading.Event(), threading.Event()

        def held(request: Request) -> Answer:
            if request.path == "/held":
                begun.set()
                gate.wait(60)
            return Answer(200, SITE.encode())

        site.answer = held
        client = Client(manager, site)
        client.get("/first")
        answers: list[str] = []
        thread = threading.Thread(target=lambda: answers.append(client.get("/held")))
        thread.start()
        assert begun.wait(30)
        try:
            manager.switch_upstream_proxy()
            before = len(upstreams["open"].told())
            assert get(manager, site) == SITE
            assert len(upstreams["open"].told()) > before
            assert not answers
        finally:
            gate.set()
            thread.join()
        assert answers == [SITE]
        before = len(upstreams["open"].told())
        assert client.get("/after") == SITE
        assert len(upstreams["open"].told()) > before

    def test_a_raw_tunnel_goes_on_and_the_next_takes_the_new_way(
        self, desk: Desk, provider: Backend, upstreams: dict[str, UpstreamProxy]
    ) -> None:
        manager = ProxyManager(PROVIDER).launch_proxy()
        with socket.create_server(("127.0.0.1", 0)) as echo:
            port = echo.getsockname()[1]

            def serve() -> None:
                while True:
                    try:
                        connection, _ = echo.accept()
                    except OSError:
                        return
                    threading.Thread(target=repeat, args=(connection,), daemon=True).start()

            threading.Thread(target=serve, daemon=True).start()
            first = tunnel(manager, port)
            assert said(first, b"\0\1 one") == b"\0\1 one"
            manager.switch_upstream_proxy()
            before = len(upstreams["open"].told("connect"))
            assert said(first, b"\0\1 two") == b"\0\1 two"
            second = tunnel(manager, port)
            assert said(second, b"\0\1 three") == b"\0\1 three"
            assert len(upstreams["open"].told("connect")) == before + 1
            first.close()
            second.close()

    def test_many_switches_while_requests_run(self, desk: Desk, upstreams: dict[str, UpstreamProxy]) -> None:
        desk.set(PROXY_PROVIDER_URL=upstreams["open"].url("http"))
        manager = ProxyManager(DIRECT).launch_proxy()
        done = threading.Event()
        answers: list[str] = []

        def ask(site: Backend) -> None:
            client = Client(manager, site)
            while not done.is_set():
                answers.append(client.get())

        threads = [threading.Thread(target=ask, args=(site,)) for site in (desk.site, desk.secure) * 2]
        for thread in threads:
            thread.start()
        for _ in range(20):
            manager.switch_upstream_proxy()
        done.set()
        for thread in threads:
            thread.join()
        assert set(answers) == {SITE}

    def test_without_an_upstream(self, desk: Desk, upstreams: dict[str, UpstreamProxy]) -> None:
        desk.set(PROXY_PROVIDER_URL=upstreams["open"].url("http"))
        config: dict[str, Any] = dict(DIRECT)
        manager = ProxyManager(config).launch_proxy()
        config["upstream_proxy_enabled"] = 0
        manager.switch_upstream_proxy()
        assert manager.upstream is None
        before = len(upstreams["open"].told())
        assert get(manager, desk.site) == get(manager, desk.secure) == SITE
        assert len(upstreams["open"].told()) == before

    def test_more_hosts_than_mitmproxy_would_connect_to(self, desk: Desk) -> None:
        manager = ProxyManager({}).launch_proxy()
        client = Client(manager, desk.site)
        with ExitStack() as resources:
            for _ in range(12):
                site = resources.enter_context(Backend(lambda _: Answer(200, b"another")))
                client.connection.request("GET", site.url)
                assert client.connection.getresponse().read() == b"another"


def repeat(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def tunnel(proxy: ProxyManager, port: int) -> socket.socket:
    """A connection that says something that is neither TLS nor HTTP."""
    connection = socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), timeout=30)
    connection.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 200")
    return connection


def said(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    answer = b""
    while len(answer) < len(data):
        part = connection.recv(65536)
        assert part
        answer += part
    return answer
