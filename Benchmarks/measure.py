"""One measurement of one side. Times in seconds, memory in bytes."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import statistics
import time
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path

from armada_testing import procfs
from armada_testing.agent import Agent, Kind
from armada_testing.orchestrator import Project
from armada_testing.processes import private_directory, report, wait_until
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.redis_server import Redis

from .load import Source, publish_ahead
from .measures import Load

PROJECT_CODE = Path(__file__).with_name("project_code.py").read_text()
WARM_UP_SHARE = 0.1
POLL = 0.005


class Slots:
    """When each job ran (nanoseconds of the monotonic clock, which all processes share), 0 for not yet."""

    def __init__(self, path: Path, count: int) -> None:
        path.write_bytes(bytes(8 * count))
        descriptor = os.open(path, os.O_RDWR)
        self.path = path
        self.count = count
        self._values = memoryview(mmap.mmap(descriptor, 0)).cast("q")
        self._mark = 0
        os.close(descriptor)

    def __getitem__(self, number: int) -> int:
        return self._values[number]

    def first_done(self) -> int:
        """How many jobs from the first on have run without a gap."""
        while self._mark < self.count and self._values[self._mark]:
            self._mark += 1
        return self._mark

    def times(self) -> list[int]:
        return sorted(value for value in self._values if value)


class Bench:
    """Makes runs of the measuring project on one broker and one Redis."""

    def __init__(self, broker: RabbitMQ, store: Redis) -> None:
        self.broker = broker
        self.store = store

    def _run(self, resources: ExitStack, slots: int, *, events: bool = False) -> tuple[Project, Slots, Path]:
        home = resources.enter_context(private_directory("bench"))
        memory = Slots(home / "slots", slots)
        project = Project(self.broker, self.store, PROJECT_CODE)
        resources.callback(project.close)
        resources.callback(self._delete, project.run_id)
        project.define(slots=str(memory.path), events=events)
        return project, memory, home

    def _delete(self, run_id: str) -> None:
        with self.broker.connect() as connection:
            channel = connection.channel()
            channel.queue_delete(run_id)
            channel.exchange_delete(run_id)

    def life(self, kind: Kind, sends: int, idle_seconds: float) -> dict[str, float]:
        """An agent's life at concurrency 1 and prefetch 1: start, latency, memory, idleness, stop."""
        warm_up = 50
        with ExitStack() as resources:
            project, slots, home = self._run(resources, 1 + warm_up + sends)
            project.dispatch({"n": 0})
            begun = time.monotonic_ns()
            agent = resources.enter_context(
                Agent(self.broker, self.store, project.run_id, log=home / "agent.log", kind=kind)
            )
            agent.process.wait_ready(lambda: slots[0], 60, "the first job has run")
            started = (slots[0] - begun) / 1e9

            latencies = []
            for number in range(1, 1 + warm_up + sends):
                sent = time.monotonic_ns()
                project.dispatch({"n": number})
                wait_until(lambda number=number: slots[number], 30, f"job {number} has run", interval=0.001)  # type: ignore[misc]
                if number > warm_up:
                    latencies.append((slots[number] - sent) / 1e9)
                time.sleep(POLL)

            memory = procfs.pss_bytes(agent.pid)
            before = procfs.fine_cpu_seconds(agent.pid)
            time.sleep(idle_seconds)
            idle = (procfs.fine_cpu_seconds(agent.pid) - before) / idle_seconds

            asked = time.monotonic()
            agent.process.send(signal.SIGTERM)
            status = agent.process.wait(60)
            stopped = time.monotonic() - asked
            if status != 0:
                raise RuntimeError(f"{kind} ended with status {status}:\n{agent.process.tail()}")
        return {
            "start to first job": started,
            "latency p50": statistics.median(latencies),
            "memory (PSS)": float(memory),
            "idle CPU": idle,
            "idle stop": stopped,
        }

    def _took_settings(self, project: Project, agent: Agent, concurrency: int, prefetch: int) -> bool:
        """Whether the agent really worked at this concurrency and prefetch: figures of another one are worthless."""
        stats = project.inspect(seconds=10, destination=[agent.node], limit=1).stats() or {}
        found = stats.get(agent.node, {})
        took = found.get("pool", {}).get("max-concurrency"), found.get("prefetch_count")
        if took == (concurrency, concurrency * prefetch):
            return True
        report(f"not counted: {agent.kind} runs with concurrency {took[0]} and prefetch count {took[1]}")
        return False

    def _sends_events(self, project: Project, agent: Agent, number: int) -> bool:
        """Whether the agent reports on one more job."""
        reported: list[str] = []
        with project.app.connection_for_read() as connection:
            receiver = project.app.events.Receiver(
                connection, handlers={"task-succeeded": lambda event: reported.append(event["uuid"])}
            )
            # The consumer's queue is bound when it begins to consume.
            with receiver.consumer_context():
                identifier = project.dispatch({"n": number})
                deadline = time.monotonic() + 10
                while identifier not in reported and time.monotonic() < deadline:
                    with contextlib.suppress(TimeoutError):
                        connection.drain_events(timeout=1)
        if identifier not in reported:
            report(f"not counted: {agent.kind} sends no events")
        return identifier in reported

    def throughput(self, kind: Kind, load: Load, jobs: int) -> dict[str, float]:
        """Jobs that are all there before the agent starts; the first tenth is warm-up and does not count.

        Empty when the agent did not take the setting.
        """
        concurrency, prefetch = load.concurrency, load.prefetch
        with ExitStack() as resources:
            project, slots, home = self._run(resources, jobs + 1, events=load.events)
            publish_ahead(self.broker, project.run_id, range(jobs))
            agent = resources.enter_context(
                Agent(
                    self.broker,
                    self.store,
                    project.run_id,
                    log=home / "agent.log",
                    kind=kind,
                    concurrency=concurrency,
                    prefetch=prefetch,
                )
            )
            warm = int(jobs * WARM_UP_SHARE)
            agent.process.wait_ready(lambda: slots.first_done() >= warm, 120, f"{warm} jobs have run")
            cpu, own = procfs.cpu_seconds(agent.pid), procfs.own_cpu_seconds(agent.pid)
            counted_from = len(slots.times())
            wait_until(lambda: slots.first_done() >= jobs, 300, f"{jobs} jobs have run", interval=POLL)
            cpu, own = procfs.cpu_seconds(agent.pid) - cpu, procfs.own_cpu_seconds(agent.pid) - own
            times = slots.times()
            counted = jobs - counted_from
            memory = procfs.pss_bytes(agent.pid)
            if not self._took_settings(project, agent, concurrency, prefetch):
                return {}
            if load.events and not self._sends_events(project, agent, jobs):
                return {}
            return {
                "jobs/s": (jobs - 1 - warm) / ((times[-1] - times[warm]) / 1e9),
                "CPU per job": cpu / counted,
                "of it in the parent": own / counted,
                "memory": float(memory),
            }

    def holding(self, kind: Kind, count: int, seconds: float = 120) -> dict[str, float]:
        """An agent that takes on jobs which are due in an hour, for as long as it takes, two minutes at most."""
        due = datetime.now(timezone.utc) + timedelta(hours=1)
        with ExitStack() as resources:
            project, _, home = self._run(resources, 1)
            source = resources.enter_context(Source(self.broker, project.run_id))
            agent = resources.enter_context(
                Agent(self.broker, self.store, project.run_id, log=home / "agent.log", kind=kind, prefetch=4)
            )
            agent.wait_ready(60)
            wait_until(lambda: project.inspect(10, [agent.node], limit=1).ping(), 60, "it answers")
            memory, cpu, begun = procfs.pss_bytes(agent.pid), procfs.cpu_seconds(agent.pid), time.monotonic()
            # It takes them on as they come: to publish them takes a fraction of that.
            source.publish(range(count), due.isoformat())
            published = time.monotonic() - begun
            deadline = begun + seconds
            while source.waiting() > 0 and time.monotonic() < deadline:
                time.sleep(POLL)
            waiting = source.waiting()
            # What the broker sent before this question, over the same connection, has been read when it is answered.
            wait_until(lambda: project.inspect(60, [agent.node], limit=1).ping(), 120, "it answers")
            taken = time.monotonic() - begun
            held = count - waiting
            report(f"{kind} holds {held} jobs after {taken:.1f} s; they were published in {published:.1f} s")
            return {
                "held": float(held),
                "holding": held / taken,
                "holding, CPU": (procfs.cpu_seconds(agent.pid) - cpu) / held,
                "holding, memory": (procfs.pss_bytes(agent.pid) - memory) / held,
            }
