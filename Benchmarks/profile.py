"""`scripts/profile`: where a side's CPU time goes while it works through a queue, by `perf`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from armada_testing import procfs
from armada_testing.agent import Agent
from armada_testing.orchestrator import Project
from armada_testing.processes import NotReady, private_directory, report, signals_as_exit
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.redis_server import Redis

from .load import publish_ahead
from .measure import PROJECT_CODE, Slots


def profile(options: argparse.Namespace) -> str:
    """The report's text: functions by share, each with its process."""
    with signals_as_exit(), ExitStack() as resources:
        home = resources.enter_context(private_directory("profile"))
        broker = resources.enter_context(RabbitMQ())
        store = resources.enter_context(Redis())
        slots = Slots(home / "slots", options.jobs)
        project = Project(broker, store, PROJECT_CODE)
        resources.callback(project.close)
        project.define(slots=str(slots.path), events=options.events)
        publish_ahead(broker, project.run_id, range(options.jobs))
        agent = resources.enter_context(
            Agent(
                broker,
                store,
                project.run_id,
                log=home / "agent.log",
                kind=options.side,
                concurrency=options.concurrency,
                prefetch=options.prefetch,
            )
        )
        agent.process.wait_ready(lambda: slots.first_done() >= options.jobs // 10, 120, "the first jobs have run")
        data = home / "perf.data"
        pids = ",".join(str(pid) for pid in procfs.tree(agent.pid))
        # The software clock, since a virtual machine seldom has hardware counters.
        recorder = subprocess.Popen(
            ["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-o", str(data), "-p", pids],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            agent.process.wait_ready(lambda: slots.first_done() >= options.jobs, 300, "all jobs have run")
        finally:
            recorder.terminate()
            problem = recorder.communicate(timeout=30)[1].decode()
        if not data.exists():
            raise NotReady(f"perf recorded nothing: {problem}")
        return subprocess.run(
            ["perf", "report", "-i", str(data), "--stdio", "--sort", "comm,dso,symbol", "--percent-limit", "0.05"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/profile", description=__doc__)
    parser.add_argument("--side", choices=["agent", "celery"], default="agent")
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--prefetch", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=50000)
    parser.add_argument("--events", action="store_true", help="with events of tasks")
    parser.add_argument("--output", type=Path, help="write the report to this file and not to the terminal")
    options = parser.parse_args(arguments)
    if shutil.which("perf") is None:
        report("profile: perf is not installed: apt install linux-perf")
        return 69
    try:
        text = profile(options)
    except NotReady as error:
        report(f"profile: {error}")
        return 1
    if options.output is not None:
        options.output.write_text(text)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
