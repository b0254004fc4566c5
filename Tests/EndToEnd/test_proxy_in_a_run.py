"""The proxy as a project's code uses it, in a run; and one page in a real browser."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from armada_testing.backend import Answer, Backend
from armada_testing.browser import Browser
from armada_testing.mitmproxy import mitmdumps
from armada_testing.processes import wait_until

from .conftest import Run
from .proxy_desk import wait_dead

PROJECT = """
import json
import os
import urllib.request

from celery.signals import worker_process_init, worker_process_shutdown
from mitmproxy import http
from src.proxy_manager import ProxyManager

proxy = None


def mark(flow: http.HTTPFlow) -> None:
    flow.request.headers["run"] = agent_message["run_id"]


def capture(flow: http.HTTPFlow, queue) -> None:
    queue.put({"path": flow.request.path, "status": flow.response.status_code})


@worker_process_init.connect
def enter(**_):
    global proxy
    proxy = ProxyManager(agent_message["config_proxy"])
    proxy.add_request_modifier(mark)
    proxy.launch_proxy()
    proxy.add_retriever("answers", capture)


@worker_process_shutdown.connect
def leave(**_):
    proxy.exit_local_proxy()


@app.task(name="tasks.consume_message", acks_late=True, queue=agent_message["run_id"])
def consume_message(job_message):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy.url}))
    text = opener.open(job_message["site"] + "/asked", timeout=30).read().decode()
    facts = {
        "text": text,
        "answers": proxy.retrieve_all("answers"),
        "bytes": proxy.get_data_count(),
        "pid": os.getpid(),
        "url": proxy.url,
    }
    with open(job_message["journal"], "a") as journal:
        journal.write(json.dumps(facts) + chr(10))
"""


@pytest.fixture
def project_code() -> str:
    return PROJECT


@pytest.fixture
def site() -> Iterator[Backend]:
    with Backend(lambda _: Answer(200, b"answer")) as site:
        yield site


@pytest.fixture
def authorities(tmp_path: Path) -> Path:
    return tmp_path / "authorities"


def lines(journal: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


def test_a_run_with_a_proxy_for_each_worker(run: Run, ours: None, site: Backend, authorities: Path) -> None:
    journal = run.home / "facts"
    run.project.define(config_proxy={"upstream_proxy_enabled": 0})
    environment = {
        "AGENT_PROXY_PORT": "0",
        "AGENT_PROXY_CA_DIRECTORY": str(authorities),
        "AGENT_CONCURRENCY": "2",
    }
    agent = run.agent(environment=environment)
    wait_until(lambda: len(mitmdumps(authorities)) == 2, 60, "a proxy for each worker")
    for _ in range(4):
        run.project.dispatch({"site": site.url, "journal": str(journal)})
    wait_until(lambda: len(lines(journal)) == 4, 60, "the jobs are done")
    for fact in lines(journal):
        assert fact["text"] == "answer"
        assert fact["answers"] == [{"path": "/asked", "status": 200}]
    assert {request.headers["run"] for request in site.requests} == {run.run_id}

    # A worker that is killed takes its proxy along, and the one in its place has one of its own.
    before = mitmdumps(authorities)
    killed = int(str(lines(journal)[0]["pid"]))
    os.kill(killed, signal.SIGKILL)
    wait_until(
        lambda: len(mitmdumps(authorities)) == 2 and set(mitmdumps(authorities)) != set(before), 60, "another proxy"
    )
    assert len(set(before) & set(mitmdumps(authorities))) == 1

    agent.process.send(signal.SIGTERM)
    assert agent.process.wait(30) == 0
    assert not mitmdumps(authorities)
    log = agent.output()
    assert "mitmdump" not in log, log


def test_an_agent_that_is_killed_takes_its_proxies_along(
    run: Run, ours: None, site: Backend, authorities: Path
) -> None:
    run.project.define(config_proxy={"upstream_proxy_enabled": 0})
    agent = run.agent(environment={"AGENT_PROXY_PORT": "0", "AGENT_PROXY_CA_DIRECTORY": str(authorities)})
    wait_until(lambda: len(mitmdumps(authorities)) == 1, 60, "a proxy")
    pids = mitmdumps(authorities)
    os.kill(agent.process.pid, signal.SIGKILL)
    wait_dead(pids)


BROWSING = """
from src.proxy_manager import ProxyManager

proxy = ProxyManager({})


def replace(flow):
    if "text/html" in flow.response.headers.get("content-type", ""):
        flow.response.text = flow.response.text.replace("the site", "the add-on")


@app.task(name="tasks.consume_message", acks_late=True, queue=agent_message["run_id"])
def consume_message(job_message):
    proxy.launch_proxy().add_modifier(replace)
    with open(job_message["journal"], "w") as journal:
        journal.write(proxy.url + chr(10))
"""


class TestBrowser:
    @pytest.fixture
    def project_code(self) -> str:
        return BROWSING

    @pytest.mark.skipif(not Browser.is_installed(), reason="no chromium and chromedriver here")
    def test_a_page_of_a_real_browser(self, run: Run, ours: None, authorities: Path, tmp_path: Path) -> None:
        from armada_testing.mitmproxy import Authority

        authorities.mkdir()
        authority = Authority.make(tmp_path)
        (authorities / "config.yaml").write_text(f"ssl_verify_upstream_trusted_ca: {authority.certificate}\n")
        page = b"<!doctype html><title>t</title><p id=told>told by the site</p><script src=/more.js></script>"
        script = b"document.getElementById('told').textContent += ', and by its script'"

        def answer(path: str) -> Answer:
            if path == "/more.js":
                return Answer(200, script, {"Content-Type": "text/javascript"})
            return Answer(200, page, {"Content-Type": "text/html; charset=utf-8"})

        journal = run.home / "url"
        run.agent(environment={"AGENT_PROXY_PORT": "0", "AGENT_PROXY_CA_DIRECTORY": str(authorities)})
        run.project.dispatch({"journal": str(journal)})
        wait_until(lambda: journal.exists() and journal.read_text().endswith("\n"), 60, "the proxy is launched")
        proxy = journal.read_text().strip()
        trusted = authorities / "mitmproxy-ca-cert.pem"
        with (
            Backend(lambda request: answer(request.path), tls=authority.server) as site,
            Browser(log=tmp_path / "browser.log", proxy=proxy, trusted=trusted) as browser,
        ):
            browser.open(site.url)
            assert browser.wait_text("#told", "script") == "told by the add-on, and by its script"
            # It came through the proxy, by TLS, from the site.
            assert "/more.js" in [request.path for request in site.requests]
