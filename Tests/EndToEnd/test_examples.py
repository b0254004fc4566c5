"""The examples, run as their READMEs say."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from armada_testing import REPOSITORY
from armada_testing.agent import agent_binary
from armada_testing.demo import JOBS, monitored, start_backend
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.worker import Worker


def test_the_demonstration(ours: None) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "armada_testing.demo"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "Python")},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the backend was told of {JOBS} jobs" in done.stdout
    assert f"{JOBS} jobs visited a page through a proxy of their own" in done.stdout


def test_the_proxy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, REPOSITORY / "examples" / "proxy" / "prices.py"],
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY / "Python"),
            "AGENT_BINARY": str(agent_binary()),
            "AGENT_PROXY_PORT": "0",
            "AGENT_PROXY_CA_DIRECTORY": str(tmp_path / "mitmproxy"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr) == (
        [
            '{"item": "pen", "price": 3, "for": "fr"}',
            '{"item": "paper", "price": 5, "for": "fr"}',
            "captured: [4, 6] bytes: 82",
        ],
        "",
    )


def test_a_script_at_a_desk_and_the_backend(tmp_path: Path) -> None:
    with ExitStack() as resources:
        backend = start_backend(tmp_path, resources)
        done = subprocess.run(
            [sys.executable, REPOSITORY / "examples" / "monitoring-backend" / "script.py"],
            env={"PYTHONPATH": str(REPOSITORY / "Python"), "BACKEND_URL": backend, "AGENT_BINARY": str(agent_binary())},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert monitored(backend) == {("Success", 2): 1}
        assert ": Success: the first step\n" in (tmp_path / "backend.log").read_text()


def test_fingerprints() -> None:
    done = subprocess.run(
        [sys.executable, REPOSITORY / "examples" / "fingerprint" / "profile.py"],
        env={"PYTHONPATH": str(REPOSITORY / "Python"), "AGENT_BINARY": str(agent_binary())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    plain, more, refused = done.stdout.splitlines()
    assert plain == '{"made for": {"os": "linux", "browser": "chromium"}}'
    assert more == '{"made for": {"os": "linux", "browser": "chromium", "country": "FR"}}'
    assert refused.startswith("status: ") and refused.endswith("HTTP 503 Service Unavailable: out of stock")


def test_jobs_that_start_jobs(ours: None, broker: RabbitMQ, tmp_path: Path) -> None:
    folder = REPOSITORY / "examples" / "jobs"
    environment = {"RABBITMQ_URL": broker.url}
    worker = Worker(broker, log=tmp_path / "log", queue="crawl", folder=folder, module="crawl", environment=environment)
    with worker:
        worker.wait_ready()
        subprocess.run(
            [sys.executable, folder / "crawl.py"],
            env={"PYTHONPATH": str(REPOSITORY / "Python"), **environment},
            timeout=60,
            check=True,
        )
        for page in ("/home", "/home/news", "/home/prices", "/home/news/today"):
            worker.wait_output(f"visited {page}\n")
        assert worker.warm() == 0


def test_a_screen_and_its_picture(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, REPOSITORY / "examples" / "display" / "picture.py", tmp_path / "screen.png"],
        env={"PYTHONPATH": str(REPOSITORY / "Python"), "PATH": os.environ["PATH"], "AGENT_BINARY": str(agent_binary())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the screen is gone: True\n" in done.stdout
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")
