"""The SDK as a package: built, installed into a virtual environment, type-checked and used there; no network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from armada_testing import REPOSITORY
from armada_testing.agent import agent_binary
from armada_testing.backend import Backend

SCRIPT = """
import asyncio
import os

from armada_agent.sdk import ModuleError
from armada_agent.sdk.fingerprint import FingerprintManager
from armada_agent.sdk.jobs import Job, current_job
from armada_agent.sdk.monitoring import MonitoringClient
from armada_agent.sdk.proxy import ProxyManager


class Mine(MonitoringClient):
    pass


def report(number: int) -> str:
    client: Mine = Mine("run", number, "job").create_job().record_success_event("a step")
    try:
        client.record_finalsuccess_event({"fingerprint": FingerprintManager({"os": "any"}).get_fingerprint()})
    except ModuleError as error:
        return error.kind
    return "told"


async def report_async() -> None:
    await MonitoringClient("run", 1, "job").record_failed_event_async("no")


class Other(ProxyManager):
    pass


def launch() -> Other:
    proxy: Other = Other({}).add_modifier(lambda flow: flow.response).launch_proxy()
    prices: list[object] = proxy.retrieve_all("prices")
    print(proxy.url, proxy.upstream["attempt"] if proxy.upstream else None, prices)
    return proxy.switch_upstream_proxy()


def more(job: Job) -> str:
    return job.launch({"name": "next"}, queue=None)


print(report(7))
asyncio.run(report_async())
try:
    more(current_job())
except ModuleError as error:
    print(error.kind)
"""
MISTAKES = """
from armada_agent.sdk.fingerprint import FingerprintManager
from armada_agent.sdk.monitoring import MonitoringClient
from armada_agent.sdk.proxy import ProxyManager

number: int = FingerprintManager({}).get_fingerprint()
MonitoringClient("run", 1, "job").record_event("x")
ProxyManager({}).add_retriever(lambda flow, queue: None)
"""


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a virtual environment with the SDK and nothing else."""
    home = tmp_path_factory.mktemp("sdk")
    # Setuptools writes beside what it builds.
    sources = home / "Python"
    shutil.copytree(REPOSITORY / "Python", sources, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    steps = [
        (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", sources, "-w", home),
        (sys.executable, "-m", "venv", home / "venv"),
        (
            home / "venv/bin/python",
            "-m",
            "pip",
            "install",
            "-q",
            "--no-index",
            # What it depends on is on the network.
            "--no-deps",
            "--find-links",
            home,
            "armada-agent-sdk",
        ),
    ]
    for step in steps:
        done = run(*step)
        assert done.returncode == 0, done.stderr
    return home / "venv/bin/python"


def test_a_script_at_a_desk(installed: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with Backend() as backend:
        done = run(
            installed,
            script,
            AGENT_BINARY=str(agent_binary()),
            BACKEND_URL=backend.url,
            FINGERPRINT_PROVIDER_URL=backend.url,
        )
    assert (done.stdout, done.stderr) == ("told\nno_job\n", "")
    paths = [request.path for request in backend.requests]
    assert paths == [
        "/api/jobs/",
        "/api/events/",
        "/get-fingerprint",
        "/api/events/",
        "/api/jobs/status",
        "/api/events/",
        "/api/jobs/status",
    ]


def test_it_holds_the_sdk_and_not_the_agent(installed: Path) -> None:
    names = (
        "armada_agent.sdk armada_agent.connector src.monitoring_client src.fingerprint_manager src.proxy_manager"
        " src.display"
    )
    done = run(installed, "-c", "import " + ", ".join(names.split()))
    assert done.returncode == 0, done.stderr
    assert run(installed, "-c", "import armada_agent.runtime").returncode == 1
    asks = run(installed, "-c", "from importlib.metadata import requires; print(requires('armada-agent-sdk'))")
    assert "cloudpickle" in asks.stdout


def test_functions_need_cloudpickle(installed: Path) -> None:
    # Beside no agent, and without mitmproxy's environment.
    code = "from src.proxy_manager import ProxyManager; ProxyManager({}).add_modifier(print)"
    done = run(installed, "-c", code, AGENT_PROXY_MITMDUMP="/nowhere/mitmdump")
    assert "TypeError: functions travel by cloudpickle, which is not installed" in done.stderr


def test_types_are_complete(installed: Path, tmp_path: Path) -> None:
    check = (
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--python-executable",
        installed,
        "--cache-dir",
        tmp_path / "cache",
    )
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = run(*check, script)
    assert done.returncode == 0, done.stdout
    mistaken = tmp_path / "mistaken.py"
    mistaken.write_text(MISTAKES)
    done = run(*check, mistaken)
    assert done.returncode == 1
    assert 'expression has type "str"' in done.stdout
    assert 'has no attribute "record_event"' in done.stdout
    assert 'Missing positional argument "function" in call to "add_retriever"' in done.stdout
