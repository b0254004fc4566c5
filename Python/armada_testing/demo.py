"""The demonstration: servers, two agents, 20 jobs of examples/hello-armada, the end of the run, and a table."""

from __future__ import annotations

import contextlib
import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

from . import REPOSITORY
from .agent import Agent, default_kind
from .orchestrator import Project
from .processes import NotReady, private_directory, report, signals_as_exit
from .rabbitmq import RabbitMQ
from .redis_server import Redis

JOBS = 20
AGENTS = 2
EXAMPLE = REPOSITORY / "examples" / "hello-armada"


def bundled_code() -> str:
    """The example as one string, made by its own bundler."""
    code: str = runpy.run_path(str(EXAMPLE / "bundle.py"))["bundle"](EXAMPLE)
    return code


def journal_lines(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


def run() -> int:
    begun = time.monotonic()
    with contextlib.ExitStack() as resources:
        home = resources.enter_context(private_directory("demo"))
        journal = home / "journal.jsonl"
        report("starting Redis and RabbitMQ on loopback ports of their own …")
        store = resources.enter_context(Redis())
        broker = resources.enter_context(RabbitMQ())
        report(f"  Redis on port {store.port}, RabbitMQ on port {broker.port}")

        project = Project(broker, store, bundled_code())
        resources.callback(project.close)
        for index in range(AGENTS):
            project.define(index, greeting="Hello", journal=str(journal))
        report(f"dispatching {JOBS} jobs of run {project.run_id} with Celery's client …")
        for number in range(1, JOBS + 1):
            project.dispatch({"job": number, "name": f"job {number}", "seconds": 0.2})

        report(f"starting {AGENTS} agents ({default_kind()}) …")
        started = time.monotonic()
        agents = [
            resources.enter_context(
                Agent(broker, store, project.run_id, pod_index=index, log=home / f"agent{index}.log")
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
        return summary(journal_lines(journal), statuses, ended - started, ended - begun, [a.output() for a in agents])


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
