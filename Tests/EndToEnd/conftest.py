"""Servers shared by the session, and one run per test."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from armada_testing.agent import Agent, Kind, default_kind
from armada_testing.gate import Gate
from armada_testing.orchestrator import Project
from armada_testing.processes import wait_until
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.redis_server import Redis

from .worker_project import Project as WorkerProject

PROJECT_CODE = Path(__file__).with_name("project_code.py").read_text()


@dataclass(frozen=True)
class Step:
    """One line that the project's code wrote."""

    event: str
    number: int
    pid: int
    time: float


class Run:
    """One run of the test project: its jobs, its agents and its journal."""

    def __init__(
        self, broker: RabbitMQ, store: Redis, home: Path, resources: ExitStack, code: str = PROJECT_CODE
    ) -> None:
        self.broker = broker
        self.store = store
        self.home = home
        self.journal = home / "journal"
        self.gate = home / "gate"
        self.project = Project(broker, store, code)
        self._resources = resources
        self.project.define(journal=str(self.journal))
        resources.callback(self.project.close)

    @property
    def run_id(self) -> str:
        return self.project.run_id

    def agent(self, *, ready: bool = True, environment: Mapping[str, str] | None = None, **options: Any) -> Agent:
        agent = Agent(
            self.broker, self.store, self.run_id, log=self.home / "agent.log", environment=environment, **options
        )
        self._resources.enter_context(agent)
        if ready:
            agent.wait_ready()
        return agent

    def dispatch(self, number: int, **job: Any) -> str:
        return self.project.dispatch({"n": number, **job})

    def dispatch_held(self, number: int) -> str:
        """A job that runs until `open_gate`."""
        return self.dispatch(number, until=str(self.gate))

    def open_gate(self) -> None:
        self.gate.touch()

    def steps(self, event: str | None = None) -> list[Step]:
        if not self.journal.exists():
            return []
        steps = []
        for line in self.journal.read_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                continue  # Still being written.
            name, number, pid, time = line.split()
            steps.append(Step(name, int(number), int(pid), float(time)))
        return [step for step in steps if event is None or step.event == event]

    def times(self, event: str) -> Counter[int]:
        """How often each job reached this step."""
        return Counter(step.number for step in self.steps(event))

    def wait_for(self, event: str, number: int, seconds: float = 30, times: int = 1) -> None:
        wait_until(lambda: self.times(event)[number] >= times, seconds, f"job {number}: {event}, {times} time(s)")

    def wait_number_done(self, number: int, seconds: float) -> None:
        wait_until(lambda: len(self.times("end")) >= number, seconds, f"{number} jobs done")

    def wait_done(self, numbers: range, seconds: float) -> None:
        def done() -> bool:
            return not set(numbers) - set(self.times("end"))

        wait_until(done, seconds, f"all of {numbers} done", interval=0.1)

    def wait_empty(self, seconds: float = 20) -> None:
        """Until nothing is on the queue, neither ready nor unacknowledged."""
        wait_until(lambda: self.broker.depths(self.run_id) == (0, 0), seconds, "the queue is empty", interval=0.2)


@pytest.fixture(scope="session")
def kind() -> Kind:
    return default_kind()


@pytest.fixture
def ours(kind: Kind) -> None:
    """For what only our agent promises."""
    if kind != "agent":
        pytest.skip("the stock worker does not do this")


@pytest.fixture(scope="session", autouse=True)
def ends_on_sigterm() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does, so that the servers are stopped."""

    def unwind(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, unwind)
    yield
    signal.signal(signal.SIGTERM, previous)


@pytest.fixture(scope="session")
def broker() -> Iterator[RabbitMQ]:
    with RabbitMQ() as server:
        yield server


@pytest.fixture(scope="session")
def store() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture
def project_code() -> str:
    """The code of the project; a test may give another."""
    return PROJECT_CODE


@pytest.fixture
def run(broker: RabbitMQ, store: Redis, tmp_path: Path, project_code: str) -> Iterator[Run]:
    with ExitStack() as resources:
        yield Run(broker, store, tmp_path, resources, project_code)


@pytest.fixture
def own_broker() -> Iterator[RabbitMQ]:
    """A broker that the test may stop."""
    with RabbitMQ() as server:
        yield server


@pytest.fixture
def fragile_run(own_broker: RabbitMQ, store: Redis, tmp_path: Path) -> Iterator[Run]:
    """A run on a broker that the test may stop."""
    with ExitStack() as resources:
        yield Run(own_broker, store, tmp_path, resources)


@pytest.fixture
def backend() -> Iterator[Redis]:
    """A result backend that the test may stop."""
    with Redis() as server:
        yield server


@pytest.fixture
def gate(backend: Redis) -> Iterator[Gate]:
    gate = Gate(backend.port)
    yield gate
    gate.close()


@pytest.fixture
def project(broker: RabbitMQ, tmp_path: Path) -> Iterator[WorkerProject]:
    """A small project for a worker of its own."""
    with ExitStack() as resources:
        yield WorkerProject(broker, tmp_path, resources)
