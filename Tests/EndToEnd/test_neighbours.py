"""A stock worker and ours on one broker: each learns from the other, and they elect one of them."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from armada_testing.agent import Agent, Kind
from armada_testing.processes import wait_until
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.redis_server import Redis
from armada_testing.worker import Journal, Worker, client

from .conftest import Run

pytestmark = pytest.mark.usefixtures("ours")


class Neighbourhood:
    """Workers of both kinds, and a client, on a broker where nobody else is."""

    def __init__(self, broker: RabbitMQ, home: Path, resources: ExitStack) -> None:
        self.client: Celery = client(broker)
        self.journal = Journal(home / "journal")
        self._broker = broker
        self._home = home
        self._resources = resources
        resources.callback(self.client.close)

    def start(self, kind: Kind, *options: str) -> Worker:
        name = uuid.uuid4().hex[:8]
        worker = Worker(
            self._broker,
            log=self._home / f"{kind}-{name}.log",
            options=["-l", "DEBUG", *options],
            environment=self.journal.environment,
            kind=kind,
        )
        self._resources.enter_context(worker)
        worker.wait_answers(self.client)
        return worker

    def revoked(self, worker: Worker | Agent) -> list[str]:
        replies: dict[str, list[str]] = self.client.control.inspect(destination=[worker.node], limit=1).revoked() or {}
        return replies.get(worker.node, [])

    def wait_revoked(self, worker: Worker, identity: str) -> None:
        wait_until(lambda: identity in self.revoked(worker), 20, f"{worker.node} knows of the revoked task")

    def elect(self, number: int, *workers: Worker) -> Any:
        """Has one of these workers run a task; the replies."""
        action = self.client.signature("jobs.early", args=({"n": number},))
        return self.client.control.broadcast(
            "election",
            arguments={"id": str(uuid.uuid4()), "topic": "task", "action": dict(action)},
            destination=[worker.node for worker in workers],
            reply=True,
            timeout=20,
            limit=len(workers),
        )


@pytest.fixture(scope="module")
def quiet_broker() -> Iterator[RabbitMQ]:
    with RabbitMQ() as server:
        yield server


@pytest.fixture
def neighbourhood(quiet_broker: RabbitMQ, tmp_path: Path) -> Iterator[Neighbourhood]:
    with ExitStack() as resources:
        yield Neighbourhood(quiet_broker, tmp_path, resources)


def test_revoked_tasks_are_learnt_in_both_directions(neighbourhood: Neighbourhood, tmp_path: Path) -> None:
    state = ["--statedb", str(tmp_path / "state")]
    control = neighbourhood.client.control
    stock = neighbourhood.start("celery")
    control.revoke("known to stock", destination=[stock.node], reply=True)

    # Ours asks when it starts, and a stock neighbour tells.
    ours = neighbourhood.start("agent", *state)
    neighbourhood.wait_revoked(ours, "known to stock")
    ours.wait_output("in sync with neighbours")
    stock.wait_output(f"sync with {ours.node}")

    # A stock worker asks when it starts, and ours tells.
    control.revoke("known to ours", destination=[ours.node], reply=True)
    assert "known to ours" not in neighbourhood.revoked(stock)
    newcomer = neighbourhood.start("celery")
    neighbourhood.wait_revoked(newcomer, "known to ours")
    newcomer.wait_output("mingle: sync with 2 nodes")
    ours.wait_output("sync with a neighbour")

    # Ours tells when it asks.
    assert ours.warm() == 0
    ours.start()
    ours.wait_answers(neighbourhood.client)
    neighbourhood.wait_revoked(stock, "known to ours")


def test_the_reply_queue_is_gone_once_all_have_answered(neighbourhood: Neighbourhood, quiet_broker: RabbitMQ) -> None:
    neighbourhood.start("agent")

    def reply_queues() -> list[str]:
        names = quiet_broker.control("list_queues", "--no-table-headers", "name").splitlines()
        return [name for name in names if name.endswith(".reply.celery.pidbox")]

    # The test's own client has one, too.
    wait_until(lambda: len(reply_queues()) <= 1, 30, "the reply queue is gone", interval=0.5)


def test_without_mingle_nobody_is_asked(neighbourhood: Neighbourhood) -> None:
    stock = neighbourhood.start("celery")
    ours = neighbourhood.start("agent", "--without-mingle")
    assert f"sync with {ours.node}" not in stock.output()


def test_gossip_tells_who_comes_and_who_is_gone(neighbourhood: Neighbourhood) -> None:
    ours = neighbourhood.start("agent", "--with-gossip")
    stock = neighbourhood.start("celery")
    ours.wait_output("a neighbour joined")
    stock.wait_output(f"{ours.node} joined the party")
    clock = neighbourhood.client.control.inspect().clock() or {}
    # Each heartbeat carries its sender's clock, and whoever hears it goes beyond that.
    assert abs(clock[ours.node]["clock"] - clock[stock.node]["clock"]) < 20
    stock.process.send(signal.SIGKILL)
    ours.wait_output("missed a neighbour's heartbeat")
    leaver = neighbourhood.start("celery")
    assert leaver.warm() == 0
    ours.wait_output("a neighbour left")


def test_an_election_has_one_winner(neighbourhood: Neighbourhood) -> None:
    """A stock worker acknowledges the candidates, and is none itself: if its own acknowledgement comes back to it
    before another's candidacy has come, which is for chance to say, an election ends it (kombu/clocks.py, sort_heap).
    """
    candidates = [neighbourhood.start("agent", "--with-gossip") for _ in range(2)]
    stock = neighbourhood.start("celery")
    for candidate in candidates:
        candidate.wait_output(f"a neighbour joined node={stock.node}")
    for number in range(1, 4):
        replies = neighbourhood.elect(number, *candidates)
        assert {node for reply in replies for node in reply} == {candidate.node for candidate in candidates}
        neighbourhood.journal.wait_for("end", n=number)
        for candidate in candidates:
            wait_decided(candidate, number)
    assert sum(candidate.output().count("info won an election") for candidate in candidates) == 3
    assert stock.running
    # Whoever ran them, each ran once.
    assert len(neighbourhood.journal.entries("end")) == 3


def wait_decided(worker: Worker, elections: int) -> None:
    """Until it has seen the end of so many: "won an election", or "another node won an election"."""
    wait_until(lambda: worker.output().count("won an election") == elections, 20, f"{elections} elections have ended")


def test_a_lone_worker_wins_its_election(neighbourhood: Neighbourhood) -> None:
    ours = neighbourhood.start("agent", "--with-gossip")
    assert neighbourhood.elect(1, ours) == [{ours.node: None}]
    neighbourhood.journal.wait_for("end", n=1)
    ours.wait_output("won an election")
    assert ours.warm() == 0


def test_an_election_without_gossip_harms_nobody(neighbourhood: Neighbourhood) -> None:
    ours = neighbourhood.start("agent")
    assert neighbourhood.elect(1, ours) == [{ours.node: None}]
    [reply] = neighbourhood.client.control.broadcast("election", arguments={}, reply=True, timeout=2, limit=1)
    assert "missing 2 required positional arguments: 'id' and 'topic'" in reply[ours.node]["error"]
    assert ours.warm() == 0


class TestRuns:
    """Pods ask those of their own run, and a few answers suffice; a stock worker is answered as ever."""

    @pytest.fixture
    def runs(self, quiet_broker: RabbitMQ, store: Redis, tmp_path: Path) -> Iterator[tuple[Run, Run]]:
        with ExitStack() as resources:
            homes = (tmp_path / "one", tmp_path / "other")
            for home in homes:
                home.mkdir()
            yield Run(quiet_broker, store, homes[0], resources), Run(quiet_broker, store, homes[1], resources)

    def pod(self, run: Run, index: int, consumers: int = 1) -> Agent:
        run.project.define(index, journal=str(run.journal))
        agent = run.agent(ready=False, pod_index=index)
        agent.wait_ready(consumers=consumers)
        return agent

    def test_a_pod_learns_from_its_own_run(
        self, runs: tuple[Run, Run], neighbourhood: Neighbourhood, tmp_path: Path
    ) -> None:
        run, other = runs
        control = neighbourhood.client.control
        first = self.pod(run, 0)
        control.revoke("known", destination=[first.node], reply=True)
        stranger = self.pod(other, 5)
        late = self.pod(run, 1, consumers=2)
        wait_until(lambda: "known" in neighbourhood.revoked(late), 20, "the late pod knows of the revoked task")
        # The first one has heard the stranger before.
        assert f"sync with a neighbour node={late.node}" in first.output()
        assert f"sync with a neighbour node={stranger.node}" not in first.output()
        assert neighbourhood.revoked(stranger) == []
        stock = neighbourhood.start("celery")
        neighbourhood.wait_revoked(stock, "known")
        stock.wait_output("mingle: sync with 3 nodes")
        # A stock worker answers a pod, too, of whatever run.
        control.revoke("known to stock", destination=[stock.node], reply=True)
        last = self.pod(other, 6, consumers=2)
        wait_until(lambda: "known to stock" in neighbourhood.revoked(last), 20, "the last pod knows what stock knows")
