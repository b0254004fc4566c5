"""The demonstration: servers, two agents, 20 jobs of examples/hello-armada, a backend, the end of the run, a table."""

from __future__ import annotations

import contextlib
import json
import runpy
import sys
import time
import urllib.request
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from . import REPOSITORY
from .agent import Agent, default_kind
from .orchestrator import Project
from .processes import NotReady, Process, free_port, port_answers, private_directory, report, signals_as_exit
from .rabbitmq import RabbitMQ
from .redis_server import Redis

JOBS = 20
AGENTS = 2
EXAMPLE = REPOSITORY / "examples" / "hello-armada"
BACKEND = REPOSITORY / "examples" / "monitoring-backend" / "backend.py"


def bundled_code() -> str:
    """The example as one string, made by its own bundler."""
    code: str = runpy.run_path(str(EXAMPLE / "bundle.py"))["bundle"](EXAMPLE)
    return code


def journal_lines(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


def start_backend(home: Path, resources: contextlib.ExitStack) -> str:
    """Starts the example's backend; its URL."""
    port = free_port()
    command = [sys.executable, str(BACKEND), "--port", str(port)]
    process = resources.enter_context(Process(command, home / "backend.log", {}))
    process.wait_ready(lambda: port_answers(port), 10, "the backend answers")
    return f"http://127.0.0.1:{port}"


def monitored(backend: str) -> Counter[tuple[str, int]]:
    """How many jobs the backend knows, by their status and the number of their events."""
    with urllib.request.urlopen(f"{backend}/api/jobs/", timeout=10) as answer:
        return Counter((job["job_status"], len(job["events"])) for job in json.load(answer))


def run() -> int:
    begun = time.monotonic()
    with contextlib.ExitStack() as resources:
        home = resources.enter_context(private_directory("demo"))
        journal = home / "journal.jsonl"
        report("starting Redis, RabbitMQ and a backend on loopback ports of their own …")
        store = resources.enter_context(Redis())
        broker = resources.enter_context(RabbitMQ())
        backend = start_backend(home, resources)
        report(f"  Redis on port {store.port}, RabbitMQ on port {broker.port}, the backend at {backend}")
        # The modules are our agent's.
        has_modules = default_kind() == "agent"

        project = Project(broker, store, bundled_code())
        resources.callback(project.close)
        for index in range(AGENTS):
            modules = {"config_proxy": {"upstream_proxy_enabled": 0}} if has_modules else {}
            project.define(index, greeting="Hello", journal=str(journal), monitoring=has_modules, **modules)
        report(f"dispatching {JOBS} jobs of run {project.run_id} with Celery's client …")
        for number in range(1, JOBS + 1):
            job = {"job": number, "name": f"job {number}", "seconds": 0.2, "job_uuid": str(uuid.uuid4())}
            project.dispatch({**job, "page": f"{backend}/api/jobs/"})

        report(f"starting {AGENTS} agents ({default_kind()}) …")
        started = time.monotonic()
        agents = [
            resources.enter_context(
                Agent(
                    broker,
                    store,
                    project.run_id,
                    pod_index=index,
                    log=home / f"agent{index}.log",
                    environment={
                        "BACKEND_URL": backend,
                        "AGENT_PROXY_PORT": "0",
                        "AGENT_PROXY_CA_DIRECTORY": str(home / "mitmproxy"),
                    },
                )
            )
            for index in range(AGENTS)
        ]
        for agent in agents:
            agent.wait_ready(consumers=AGENTS)

        def progress(waiting: int, running: int) -> None:
            for agent in agents:
                if not agent.process.running:
                    raise NotReady(f"{agent.node} ended early:\n{agent.process.tail()}")
            report(f"  {len(journal_lines(journal)):2d} of {JOBS} done, {waiting} waiting, {running} running")

        nodes = project.end(progress=progress)
        report(f"shutting down {', '.join(sorted(nodes))} …")
        statuses = [agent.process.wait(30) for agent in agents]
        ended = time.monotonic()
        done = journal_lines(journal)
        code = summary(done, statuses, ended - started, ended - begun, [a.output() for a in agents])
        if has_modules:
            known = monitored(backend)
            told = known[("Success", 2)]
            print(f"the backend was told of {told} jobs: each one's start, its step, its end")
            if known != Counter({("Success", 2): JOBS}):
                report(f"the backend knows {dict(known)}; expected {JOBS} jobs with two events each")
                return 1
            visited = sum(line["answer"] == {"status": 200, "sent": "Hello"} for line in done)
            print(f"{visited} jobs visited a page through a proxy of their own, with a header that an add-on set")
            if visited != JOBS:
                report(f"the jobs have captured {[line['answer'] for line in done]}")
                return 1
        return code


def summary(
    done: list[dict[str, Any]], statuses: list[int], run_seconds: float, seconds: float, logs: list[str]
) -> int:
    """Prints the table; 0 when every job was done once and both agents took part and ended in order."""
    print(f"\n{'agent':<10}{'jobs':>6}{'job time':>12}{'exit':>6}")
    for index, status in enumerate(statuses):
        own = [line for line in done if line["agent"] == str(index)]
        print(f"{f'worker{index}':<10}{len(own):>6}{sum(line['seconds'] for line in own):>10.2f} s{status:>6}")
    print(f"{'run':<10}{len(done):>6}{run_seconds:>10.2f} s\nwhole demonstration: {seconds:.1f} s")
    complete = sorted(line["job"] for line in done) == list(range(1, JOBS + 1))
    if complete and not any(statuses) and not any(line["error"] for line in done):
        return 0
    report("the run did not go as it should: every job once, without an error, and exit status 0 were expected")
    for index, log in enumerate(logs):
        report(f"--- the agent {index} wrote:\n{log}")
    return 1


def main() -> int:
    try:
        with signals_as_exit():
            return run()
    except NotReady as error:
        report(f"demo: {error}")
        return 69
    except KeyboardInterrupt:
        report("demo: interrupted; all that was started has been stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
