"""The user's functions in mitmproxy: how they travel, what they see, how they fail."""

from __future__ import annotations

import importlib
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from armada_agent.sdk import ModuleError, _functions
from armada_agent.sdk.proxy import ProxyManager
from armada_testing.backend import Answer
from armada_testing.mitmproxy import mitmdumps
from armada_testing.processes import wait_until

from .proxy_desk import Client, Desk, get, opened_desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        opened_desk(tmp_path_factory.mktemp("desk"), monkeypatch) as desk,
    ):
        yield desk


@pytest.fixture(scope="module")
def proxy(desk: Desk) -> ProxyManager:
    """One for all tests here; a function of a test's acts on the paths of its own alone."""
    return ProxyManager({}).launch_proxy()


@pytest.fixture
def path() -> str:
    return f"/{uuid.uuid4().hex}"


def marked(flow: Any) -> None:
    if flow.request.path == "/marked":
        flow.request.headers["marked"] = text_of(3)


def text_of(number: int) -> str:
    return f"number {number}"


def seen(desk: Desk, path: str) -> dict[str, str]:
    """The headers of the request that came to the site."""
    return next(request.headers for request in reversed(desk.site.requests) if request.path == path)


class TestTravelling:
    def test_a_function_of_a_module_with_what_it_uses(self, proxy: ProxyManager, desk: Desk) -> None:
        proxy.add_request_modifier(marked)
        get(proxy, desk.site, "/marked")
        assert seen(desk, "/marked")["marked"] == "number 3"

    def test_lambdas_closures_and_methods(self, proxy: ProxyManager, desk: Desk, path: str) -> None:
        def setting(name: str, value: str) -> Callable[[Any], None]:
            def set_header(flow: Any) -> None:
                if flow.request.path == path:
                    flow.request.headers[name] = value

            return set_header

        class Setter:
            def __init__(self, value: str) -> None:
                self.value = value

            def set(self, flow: Any) -> None:
                if flow.request.path == path:
                    flow.request.headers["method"] = self.value

            def __call__(self, flow: Any) -> None:
                if flow.request.path == path:
                    flow.request.headers["object"] = self.value

        proxy.add_request_modifier(setting("closure", "1")).add_request_modifier(Setter("2").set)
        proxy.add_request_modifier(Setter("3"))
        proxy.add_request_modifier(
            lambda flow: flow.request.headers.update({"lambda": "4"} if flow.request.path == path else {})
        )
        get(proxy, desk.site, path)
        headers = seen(desk, path)
        assert [headers[name] for name in ("closure", "method", "object", "lambda")] == ["1", "2", "3", "4"]

    def test_code_that_is_executed_without_a_name(self, proxy: ProxyManager, desk: Desk, path: str) -> None:
        # As the agent executes a project's code.
        names: dict[str, Any] = {"app": threading.Lock(), "agent_message": {"label": "told"}}
        code = """
from mitmproxy import http
import re

WORD = re.compile("[a-z]+")

def label():
    return agent_message["label"]

def modifier(flow: http.HTTPFlow) -> None:
    if flow.request.path == PATH:
        flow.request.headers["label"] = WORD.match(label()).group()

async def answer(flow: http.HTTPFlow) -> None:
    if flow.request.path == PATH:
        flow.response = http.Response.make(418, "short")
"""
        exec(compile(code.replace("PATH", repr(path)), "<agent code>", "exec"), names)
        proxy.add_request_modifier(names["modifier"]).add_modifier(names["answer"])
        assert get(proxy, desk.site, path) == "418: short"
        assert seen(desk, path)["label"] == "told"

    def test_modules_that_only_the_worker_has(
        self, proxy: ProxyManager, desk: Desk, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "projects_helpers.py").write_text(
            "import threading\nlock = threading.Lock()\nSUFFIX = '!'\n"
            "class Told:\n    def __init__(self, text): self.text = text + SUFFIX\n"
            "def told(flow): return Told(flow.request.path)\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        helpers = importlib.import_module("projects_helpers")
        told = helpers.told
        # mitmdump was started before this folder was on the search path: the module itself it can't import.
        proxy.add_retriever(path, lambda flow, queue: queue.put(told(flow)) if flow.request.path == path else None)
        get(proxy, desk.site, path)
        value = proxy.retrieve(path)
        assert type(value) is helpers.Told
        assert value.text == path + "!"

    def test_what_cannot_travel(self, proxy: ProxyManager) -> None:
        lock = threading.Lock()
        for add in (proxy.add_modifier, ProxyManager({}).add_modifier):
            with pytest.raises(TypeError, match=r"<lambda> can't travel to mitmdump.*cannot pickle '_thread.lock'"):
                add(lambda _: lock)
        with pytest.raises(TypeError, match="found str, expected a function"):
            proxy.add_modifier("a name")  # type: ignore[arg-type]

    def test_what_cannot_be_imported_there(
        self, proxy: ProxyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "locked_module.py").write_text("import threading\nlock = threading.Lock()\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        module = importlib.import_module("locked_module")
        with pytest.raises(ModuleError, match="No module named 'locked_module'") as caught:
            proxy.add_modifier(lambda _: module.lock)
        assert caught.value.kind == "function"
        # A proxy that is launched with it has the worker's search path.
        other = ProxyManager({}).add_modifier(lambda _: module.lock).launch_proxy()
        other.exit_local_proxy()

    def test_before_the_launch_it_is_told_at_the_launch(
        self, proxy: ProxyManager, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("armada_agent.sdk.proxy.python_version", lambda: "CPython 3.7")
        running = mitmdumps(desk.folder)
        version = _functions.python_version()
        with pytest.raises(ModuleError, match=rf"mitmdump runs on {version}, the function is CPython 3.7's"):
            proxy.add_modifier(marked)
        with pytest.raises(ModuleError, match=r"marked can't run in mitmproxy: .*CPython 3.7") as caught:
            ProxyManager({}).add_modifier(marked).launch_proxy()
        assert caught.value.kind == "function"
        assert mitmdumps(desk.folder) == running


class TestOrder:
    def test_retrievers_see_the_response_as_it_came(self, proxy: ProxyManager, desk: Desk, path: str) -> None:
        def upper(flow: Any) -> None:
            if flow.request.path == path:
                flow.response.text = flow.response.text.upper()

        def keep(flow: Any, queue: Any) -> None:
            if flow.request.path == path:
                queue.put({"text": flow.response.text, "header": flow.request.headers.get("late")})

        def late(flow: Any) -> None:
            flow.request.headers["late"] = "yes"

        before = proxy.get_data_count()
        proxy.add_modifier(upper).add_retriever(path, keep).add_request_modifier(late)
        assert get(proxy, desk.site, path) == "<H1>SITE</H1>"
        assert proxy.retrieve(path) == {"text": "<h1>site</h1>", "header": "yes"}
        assert proxy.retrieve(path) is None
        assert proxy.get_data_count() - before == len("<h1>site</h1>")

    def test_all_that_was_captured_in_order(self, proxy: ProxyManager, desk: Desk, path: str) -> None:
        def keep(flow: Any, queue: Any) -> None:
            if flow.request.path.startswith(path):
                queue.put((flow.request.path, b"\0" * 1000))
                queue.put_nowait(None)

        proxy.add_retriever(path, keep)
        client = Client(proxy, desk.site)
        for number in range(50):
            client.get(f"{path}/{number}")
        values = proxy.retrieve_all(path)
        assert values[::2] == [(f"{path}/{number}", b"\0" * 1000) for number in range(50)]
        assert values[1::2] == [None] * 50
        client.get(f"{path}/50")
        client.get(f"{path}/51")
        assert proxy.retrieve(path) is None  # The newest value, which is None itself.
        assert proxy.retrieve_all(path) == []

    def test_many_bytes_that_were_compressed(self, proxy: ProxyManager, desk: Desk, path: str) -> None:
        import gzip

        body = gzip.compress(b"a" * 1_000_000)
        headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
        desk.site.answer = lambda request: Answer(200, body if request.path == path else b"<h1>site</h1>", headers)
        before = proxy.get_data_count()

        def keep(flow: Any, queue: Any) -> None:
            if flow.request.path == path:
                queue.put(flow.response.content)

        proxy.add_retriever(path, keep)
        client = Client(proxy, desk.site)
        client.connection.request("GET", desk.site.url + path)
        assert client.connection.getresponse().read() == body
        # What has come over the network, and what the function sees.
        assert proxy.get_data_count() - before == len(body)
        assert proxy.retrieve(path) == b"a" * 1_000_000


class TestRaising:
    def test_the_flow_goes_on_and_the_log_tells(self, proxy: ProxyManager, desk: Desk, path: str) -> None:
        desk.site.answer = lambda _: Answer(200, b"<h1>site</h1>")

        def breaking(flow: Any) -> None:
            if flow.request.path == path:
                raise ValueError(f"not {len(path)}")

        def after(flow: Any) -> None:
            if flow.request.path == path:
                flow.response.text += " and more"

        proxy.add_request_modifier(breaking).add_modifier(breaking).add_modifier(after)
        client = Client(proxy, desk.site)
        for _ in range(30):
            assert client.get(path) == "<h1>site</h1> and more"
        proxy.get_data_count()
        log = desk.log.read_text()
        raised = [line for line in log.splitlines() if "a function that was added to the proxy has raised" in line]
        # For each of the two functions: the first time with its traceback, the tenth time with its number.
        assert len(raised) == 4, log
        (first, second), (tenth, twentieth) = raised[:2], raised[2:]
        for line in (first, second):
            assert 'error="ValueError: not 33"' in line
            assert "breaking" in line
            assert 'raise ValueError(f\\"not {len(path)}\\")' in line
            assert " error " in line
        for line in (tenth, twentieth):
            assert "count=10" in line
            assert "traceback" not in line

    def test_a_value_that_cannot_travel(self, proxy: ProxyManager, desk: Desk, path: str) -> None:
        def keep(flow: Any, queue: Any) -> None:
            if flow.request.path == path:
                queue.put("first")
                queue.put(threading.Lock())

        proxy.add_retriever(path, keep)
        assert get(proxy, desk.site, path) == "<h1>site</h1>"
        assert proxy.retrieve_all(path) == ["first"]
        assert "cannot pickle '_thread.lock' object" in desk.log.read_text()

    def test_one_that_blocks_mitmproxy(self, proxy: ProxyManager, desk: Desk, path: str, tmp_path: Path) -> None:
        gate, begun = tmp_path / "gate", tmp_path / "begun"

        def block(flow: Any) -> None:
            if flow.request.path == path:
                begun.touch()
                while not gate.exists():
                    time.sleep(0.01)

        proxy.add_request_modifier(block)
        thread = threading.Thread(target=get, args=(proxy, desk.site, path))
        count = len(desk.site.requests)
        thread.start()
        try:
            wait_until(begun.exists, 30, "the function blocks")
            with pytest.raises(ModuleError, match="not answered within 10 s: does a function") as caught:
                proxy.switch_upstream_proxy()
            assert caught.value.kind == "timeout"
        finally:
            gate.touch()
            thread.join()
        wait_until(lambda: len(desk.site.requests) > count, 30, "the request has come")
        # It has come to the order meanwhile.
        assert get(proxy, desk.site, f"{path}/after") == "<h1>site</h1>"


def test_mitmproxy_is_found_where_it_is_not_installed() -> None:
    assert "mitmproxy" not in sys.modules or getattr(sys.modules["mitmproxy"], "__file__", None)
    from mitmproxy import http

    assert http.HTTPFlow
    assert sys.path[-1].endswith("site-packages")
