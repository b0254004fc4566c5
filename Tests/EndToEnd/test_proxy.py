"""The proxy at a desk: a real mitmdump, its life, its failures."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from armada_agent.sdk import ModuleError
from armada_agent.sdk._connection import call
from armada_agent.sdk.proxy import ProxyManager
from armada_testing import REPOSITORY
from armada_testing.backend import Answer
from armada_testing.mitmproxy import mitmdumps
from armada_testing.processes import free_port, wait_until

from .proxy_desk import PROVIDER, Client, Desk, get, header, opened_desk, wait_dead


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with opened_desk(tmp_path, monkeypatch) as desk:
        yield desk


def test_launch_serves_and_exit_ends(desk: Desk) -> None:
    manager = ProxyManager({"upstream_proxy_enabled": 0})
    assert manager.launch_proxy() is manager
    assert get(manager, desk.site) == "<h1>site</h1>"
    assert get(manager, desk.secure) == "<h1>site</h1>"
    assert Path(manager.ca_certificate).parent == desk.folder
    assert manager.upstream is None
    assert manager.get_data_count() == 2 * len("<h1>site</h1>")
    # Launched again, it is as it was.
    url, pids = manager.url, mitmdumps(desk.folder)
    assert manager.launch_proxy().url == url
    assert mitmdumps(desk.folder) == pids

    manager.exit_local_proxy()
    assert not mitmdumps(desk.folder)
    manager.exit_local_proxy()
    assert manager.get_data_count() == 2 * len("<h1>site</h1>")
    with pytest.raises(ModuleError, match=r"launch_proxy\(\) comes first") as caught:
        manager.switch_upstream_proxy()
    assert caught.value.kind == "not_launched"
    manager.launch_proxy()
    assert get(manager, desk.site) == "<h1>site</h1>"
    assert manager.get_data_count() == 3 * len("<h1>site</h1>")


def test_before_the_launch(desk: Desk) -> None:
    manager = ProxyManager({})
    assert manager.retrieve("any") is None
    assert manager.retrieve_all("any") == []
    assert manager.get_data_count() == 0
    manager.exit_local_proxy()
    for fact in ("url", "ca_certificate", "upstream"):
        with pytest.raises(ModuleError, match="not running"):
            getattr(manager, fact)


def test_from_asyncio(desk: Desk) -> None:
    async def use() -> list[Any]:
        manager = await ProxyManager({}).launch_proxy_async()
        await manager.add_request_modifier_async(lambda flow: flow.request.headers.update({"x": "1"}))
        await manager.add_modifier_async(lambda flow: flow.response.headers.update({"y": "2"}))
        await manager.add_retriever_async("paths", lambda flow, queue: queue.put(flow.request.path))
        await manager.switch_upstream_proxy_async()
        for path in ("/a", "/b", "/c"):
            await asyncio.to_thread(get, manager, desk.site, path)
        found = [await manager.retrieve_async("paths"), await manager.retrieve_all_async("paths")]
        await asyncio.to_thread(get, manager, desk.site, "/d")
        found += [await manager.retrieve_all_async("paths"), await manager.get_data_count_async()]
        await manager.exit_local_proxy_async()
        return found

    assert asyncio.run(use()) == ["/c", [], ["/d"], 4 * len("<h1>site</h1>")]
    assert header(desk.site.requests[0], "x") == "1"


def test_a_launch_that_is_given_up_leaves_nothing(desk: Desk) -> None:
    desk.set(AGENT_PROXY_PORT=str(free_port()))

    async def give_up() -> None:
        launch = asyncio.create_task(ProxyManager({}).launch_proxy_async())
        while not mitmdumps(desk.folder):
            await asyncio.sleep(0.01)
        launch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await launch

    asyncio.run(give_up())
    wait_until(lambda: not mitmdumps(desk.folder), 30, "mitmdump has ended")
    # The port is free again.
    assert get(ProxyManager({}).launch_proxy(), desk.site) == "<h1>site</h1>"


def test_a_configuration_from_a_file(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "proxy.json"
    file.write_text(json.dumps({"upstream_proxy_enabled": 0, "proxy_location": "FR"}))
    assert get(ProxyManager(str(file)).launch_proxy(), desk.site) == "<h1>site</h1>"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"upstream_proxy_enabled": 1}, "upstream_proxy_broker_type: found nothing"),
        ({"upstream_proxy_enabled": 1, "upstream_proxy_broker_type": "file"}, 'found "file", expected "provider" or'),
        ({"upstream_proxy_enabled": 2}, "upstream_proxy_enabled: found 2, expected 0 or 1"),
        ({"upstream_proxy_enabled": "http://u:secret@h"}, "upstream_proxy_enabled: found a string"),
    ],
)
def test_a_wrong_configuration(desk: Desk, config: dict[str, Any], text: str) -> None:
    with pytest.raises(ModuleError, match=text) as caught:
        ProxyManager(config).launch_proxy()
    assert caught.value.kind == "configuration"
    assert "secret" not in str(caught.value)


def test_a_process_that_is_forked(desk: Desk) -> None:
    manager = ProxyManager({}).launch_proxy()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            manager.add_request_modifier(lambda flow: flow.request.headers.update({"forked": "yes"}))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    # The proxy is its parent's.
    assert get(manager, desk.site) == "<h1>site</h1>"
    assert header(desk.site.requests[-1], "forked") == "yes"


class TestFailures:
    def test_mitmdump_that_is_killed_comes_back_with_its_functions(self, desk: Desk) -> None:
        manager = ProxyManager({})
        manager.add_request_modifier(lambda flow: flow.request.headers.update({"first": "1"}))
        manager.launch_proxy()
        manager.add_retriever("paths", lambda flow, queue: queue.put(flow.request.path))
        url = manager.url
        get(manager, desk.site, "/before")
        assert manager.get_data_count() == len("<h1>site</h1>")
        (pid,) = mitmdumps(desk.folder)
        os.kill(pid, signal.SIGKILL)
        wait_dead([pid])
        # A call waits until it is back.
        manager.add_modifier(lambda flow: flow.response.headers.update({"second": "2"}))
        assert manager.url == url
        client = Client(manager, desk.site)
        client.get("/after")
        assert header(desk.site.requests[-1], "first") == "1"
        assert manager.retrieve_all("paths") == ["/before", "/after"]
        assert manager.get_data_count() == 2 * len("<h1>site</h1>")
        manager.switch_upstream_proxy()
        assert client.get() == "<h1>site</h1>"

    def test_one_that_ends_again_and_again_is_given_up(self, desk: Desk) -> None:
        manager = ProxyManager({})
        manager.add_retriever("paths", lambda flow, queue: queue.put(flow.request.path))
        manager.launch_proxy()
        get(manager, desk.site, "/a")
        manager.get_data_count()

        def kill() -> bool:
            for pid in mitmdumps(desk.folder):
                os.kill(pid, signal.SIGKILL)
            try:
                manager.switch_upstream_proxy()
            except ModuleError as error:
                return error.kind == "mitmproxy" and "5 times within 60 s" in str(error) and "SIGKILL" in str(error)
            return False

        wait_until(kill, 60, "the proxy is given up")
        # What came before is not lost.
        assert manager.retrieve_all("paths") == ["/a"]
        with pytest.raises(ModuleError, match="the proxy has failed"):
            manager.retrieve("paths")
        # It can be launched anew.
        assert get(manager.launch_proxy(), desk.site) == "<h1>site</h1>"

    def test_mitmproxys_own_words(self, desk: Desk) -> None:
        (desk.folder / "config.yaml").write_text("mode: [nonsense]\nno_such_option: 1\nssl_insecure: maybe\n")
        with pytest.raises(ModuleError, match=r"mitmdump has ended.*ssl_insecure") as caught:
            ProxyManager({}).launch_proxy()
        assert caught.value.kind == "mitmproxy"
        assert not mitmdumps(desk.folder)

    def test_no_mitmdump(self, desk: Desk) -> None:
        desk.set(AGENT_PROXY_MITMDUMP="/nowhere/mitmdump")
        with pytest.raises(ModuleError, match=r"AGENT_PROXY_MITMDUMP: found .*, which doesn't exist"):
            ProxyManager({}).launch_proxy()

    def test_a_folder_that_cannot_be_made(self, desk: Desk, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        desk.set(AGENT_PROXY_CA_DIRECTORY=str(tmp_path / "file" / "ca"))
        with pytest.raises(ModuleError, match=r"can't make .*file.*AGENT_PROXY_CA_DIRECTORY") as caught:
            ProxyManager({}).launch_proxy()
        assert caught.value.kind == "authority"

    def test_the_providers_errors_come_before_any_process(self, desk: Desk) -> None:
        desk.set(PROXY_PROVIDER_URL=desk.site.url.replace("//", "//user:secret@"))
        desk.site.answer = lambda _: Answer(404, b"no proxy left")
        with pytest.raises(ModuleError, match="HTTP 404 Not Found: no proxy left") as caught:
            ProxyManager(PROVIDER).launch_proxy()
        assert (caught.value.kind, "secret" in str(caught.value)) == ("status", False)
        assert not mitmdumps(desk.folder)


class TestPorts:
    @contextmanager
    def listener(self, host: str = "127.0.0.1") -> Iterator[int]:
        with socket.create_server((host, 0)) as server:
            yield server.getsockname()[1]

    @pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
    def test_a_port_that_is_taken(self, desk: Desk, host: str) -> None:
        with self.listener(host) as port:
            desk.set(AGENT_PROXY_PORT=str(port))
            name = Path("/proc/self/comm").read_text().strip()
            with pytest.raises(
                ModuleError, match=rf"port {port} is taken by process {os.getpid()} \({name}\)"
            ) as caught:
                ProxyManager({}).launch_proxy()
            assert caught.value.kind == "port"
            assert "AGENT_PROXY_PORT" in str(caught.value)
            assert caught.value.details == {"port": port, "pid": os.getpid(), "name": name}

    def test_another_proxy_of_the_same_agent(self, desk: Desk) -> None:
        desk.set(AGENT_PROXY_PORT=str(free_port()))
        first = ProxyManager({}).launch_proxy()
        with pytest.raises(ModuleError, match=rf"the proxy of process {os.getpid()}, another one of this agent"):
            ProxyManager({}).launch_proxy()
        assert get(first, desk.site) == "<h1>site</h1>"

    def test_a_process_that_has_ended_leaves_its_port(self, desk: Desk) -> None:
        desk.set(AGENT_PROXY_PORT=str(free_port()))
        # Both are served by one agent.
        call("proxy.exit", proxy="none")
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                ProxyManager({}).launch_proxy()
                os.write(write, b"1")
                signal.pause()
            finally:
                os._exit(0)
        assert os.read(read, 1) == b"1"
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert get(ProxyManager({}).launch_proxy(), desk.site) == "<h1>site</h1>"
        assert len(mitmdumps(desk.folder)) == 1

    def test_two_agents_that_make_the_authority_together(self, desk: Desk) -> None:
        code = """
import sys
from armada_agent.sdk.proxy import ProxyManager
proxy = ProxyManager({}).launch_proxy()
print(open(proxy.ca_certificate).read())
sys.stdin.read()
"""
        folders = str(REPOSITORY / "Python")
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONPATH": folders},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        certificates = {process.communicate(timeout=60)[0] for process in processes}
        assert certificates == {(desk.folder / "mitmproxy-ca-cert.pem").read_text() + "\n"}

    def test_two_that_make_the_authority_together(self, desk: Desk) -> None:
        managers = [ProxyManager({}), ProxyManager({})]
        threads = [threading.Thread(target=manager.launch_proxy) for manager in managers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert managers[0].url != managers[1].url
        assert {get(manager, desk.secure) for manager in managers} == {"<h1>site</h1>"}
