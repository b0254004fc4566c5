"""`scripts/soak`: an agent works through very many jobs, and its memory is taken at regular counts.

The jobs come while it works, so that the queue stays short. They count themselves in one page of shared memory.
"""

from __future__ import annotations

import argparse
import mmap
import os
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from armada_testing import procfs
from armada_testing.agent import Agent, agent_command
from armada_testing.orchestrator import Project
from armada_testing.processes import NotReady, private_directory, report, signals_as_exit
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.redis_server import Redis

from .load import Source
from .report import machine, versions

CODE = Path(__file__).with_name("soak_code.py").read_text()
PIECE = 2000
LONGEST_QUEUE = 20_000
# What is reached by then is what stays: caches are full, the allocators have their pages.
SETTLED_SHARE = 0.2


@dataclass(frozen=True)
class Row:
    """What was found at one count."""

    jobs: int
    seconds: float
    tree: int
    """Bytes."""
    parent: int
    """Bytes, of the agent's own process."""


class Counts:
    """How many jobs have run, in memory shared with the workers."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(mmap.PAGESIZE))
        descriptor = os.open(path, os.O_RDWR)
        self._values = memoryview(mmap.mmap(descriptor, 0)).cast("q")
        os.close(descriptor)

    def total(self) -> int:
        return sum(self._values)


class Feed(threading.Thread):
    """Publishes jobs for as long as the queue is short."""

    def __init__(self, broker: RabbitMQ, run_id: str, jobs: int) -> None:
        super().__init__(daemon=True)
        self.failure: BaseException | None = None
        self._source = Source(broker, run_id)
        self._jobs = jobs
        self._stopped = threading.Event()

    def run(self) -> None:
        try:
            with self._source as source:
                for start in range(0, self._jobs, PIECE):
                    while source.waiting() > LONGEST_QUEUE and not self._stopped.wait(0.05):
                        pass
                    if self._stopped.is_set():
                        return
                    source.publish(range(start, min(start + PIECE, self._jobs)))
                # What was written last is with the broker when it answers.
                source.waiting()
        except BaseException as error:
            self.failure = error

    def stop(self) -> None:
        self._stopped.set()
        self.join(30)


def soak(options: argparse.Namespace) -> list[Row]:
    """Runs the jobs; one row for each `options.every` of them."""
    with signals_as_exit(), ExitStack() as resources:
        home = resources.enter_context(private_directory("soak"))
        broker = resources.enter_context(RabbitMQ())
        store = resources.enter_context(Redis())
        counts = Counts(home / "counts")
        project = Project(broker, store, CODE)
        resources.callback(project.close)
        project.define(counts=str(home / "counts"))
        feed = Feed(broker, project.run_id, options.jobs)
        feed.start()
        resources.callback(feed.stop)
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
        agent.wait_ready(60)
        begun = time.monotonic()
        rows: list[Row] = []
        for goal in sorted({*range(options.every, options.jobs, options.every), options.jobs}):
            agent.process.wait_ready(partial(reached, counts, feed, goal), 3600, f"{goal} jobs have run")
            rows.append(
                Row(
                    counts.total(),
                    time.monotonic() - begun,
                    procfs.pss_bytes(agent.pid),
                    procfs.own_pss_bytes(agent.pid),
                )
            )
            report(line(rows[-1]))
        return rows


def reached(counts: Counts, feed: Feed, goal: int) -> bool:
    """Whether so many jobs have run. Raises what has ended the publishing."""
    if feed.failure is not None:
        raise NotReady(f"the jobs can't be published: {feed.failure!r}")
    return counts.total() >= goal


def line(row: Row) -> str:
    rate = row.jobs / row.seconds
    return f"| {row.jobs:,} | {row.seconds:.0f} s | {rate:,.0f} | {mebibytes(row.tree)} | {mebibytes(row.parent)} |"


def mebibytes(size: int) -> str:
    return f"{size / 2**20:.2f} MiB"


def growth(rows: list[Row]) -> int:
    """Bytes by which the tree's memory has grown since it had settled."""
    settled = next(row for row in rows if row.jobs >= rows[-1].jobs * SETTLED_SHARE)
    return rows[-1].tree - settled.tree


def text(rows: list[Row], options: argparse.Namespace) -> str:
    return "\n".join(
        [
            f"# Memory of {'armada-agent' if options.side == 'agent' else 'celery worker'} over {rows[-1].jobs:,} jobs",
            "",
            f"Command: `{' '.join(['scripts/soak', *sys.argv[1:]])}`. {machine()}. {versions()}.",
            "",
            f"Concurrency {options.concurrency}, prefetch {options.prefetch}; jobs that do nothing.",
            "",
            "| jobs | after | jobs/s | memory, PSS of the tree | of it the parent |",
            "|--:|--:|--:|--:|--:|",
            *map(line, rows),
            "",
            f"Since a fifth of the jobs: {growth(rows) / 2**20:+.2f} MiB.",
            "",
        ]
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--every", type=int, help="jobs between two looks at the memory (a twentieth of all)")
    parser.add_argument("--side", choices=["agent", "celery"], default="agent")
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--prefetch", type=int, default=4)
    parser.add_argument("--allowed", type=float, default=2, help="MiB by which memory may grow after a fifth (2)")
    parser.add_argument("--output", type=Path, help="write the table to this file, too")
    options = parser.parse_args(arguments)
    options.every = options.every or max(1, options.jobs // 20)
    try:
        agent_command(options.side)
        rows = soak(options)
    except (NotReady, RuntimeError) as error:
        report(f"soak: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    print(text(rows, options))
    if options.output is not None:
        options.output.write_text(text(rows, options))
    if growth(rows) > options.allowed * 2**20:
        report(f"soak: memory grows: {mebibytes(growth(rows))} since a fifth of the jobs")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
