"""What users of Celery complain of, and what our worker does about it, with the real broker and a Redis backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import pools

from armada_testing.gate import Gate
from armada_testing.processes import wait_until
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.redis_server import Redis
from armada_testing.worker import Journal, Worker, client

pytestmark = pytest.mark.usefixtures("ours")


class Project:
    """The test project on a queue of its own: its worker, a client, and what its tasks have written down."""

    def __init__(self, broker: RabbitMQ, store: Redis, home: Path, resources: ExitStack) -> None:
        self.broker = broker
        self.home = home
        self.queue = f"pains-{home.name}"
        self.backend: str | None = store.url
        self.journal = Journal(home / "journal")
        self.gate = home / "gate"
        self._resources = resources
        self.app = self.new_client()

    def new_client(self) -> Celery:
        app = client(self.broker, self.backend, task_default_queue=self.queue)
        self._resources.callback(app.close)
        return app

    def start(self, *options: str, settings: dict[str, Any] | None = None, answers: bool = True) -> Worker:
        worker = Worker(
            self.broker,
            log=self.home / "worker.log",
            queue=self.queue,
            options=["-E", "-l", "INFO", *options],
            backend=self.backend,
            settings={"task_default_queue": self.queue, **(settings or {})},
            environment=self.journal.environment,
        )
        self._resources.enter_context(worker)
        worker.wait_ready()
        if answers:
            worker.wait_answers(self.app)
        self.node = worker.node
        return worker

    def send(self, task: str, id: str, job: dict[str, Any] | None = None, **options: Any) -> str:
        self.app.send_task(f"jobs.{task}", args=[job or {"n": 0}], task_id=f"{self.queue}-{id}", **options)
        return f"{self.queue}-{id}"

    def hold(self, task: str, id: str, **options: Any) -> str:
        """Sends a task that runs until the gate is opened, and waits until it runs."""
        identifier = self.send(task, id, {"n": 0, "until": str(self.gate)}, **options)
        self.journal.wait_for("start", id=identifier)
        return identifier

    def open_gate(self) -> None:
        self.gate.touch()

    def wait_end(self, identifier: str, seconds: float = 20) -> None:
        self.journal.wait_for("end", seconds, id=identifier)

    def ask(self, method: str, **arguments: Any) -> Any:
        """The node's answer."""
        replies = self.app.control.broadcast(
            method, arguments=arguments, destination=[self.node], reply=True, timeout=10, limit=1
        )
        assert replies, f"{method} was not answered"
        return replies[0][self.node]

    def wait_answer(self, method: str, condition: Callable[[Any], bool]) -> Any:
        def answer() -> list[Any]:
            value = self.ask(method)
            return [value] if condition(value) else []

        return wait_until(answer, 20, f"{method} answers as expected")[0]

    def meta(self, identifier: str) -> dict[str, Any]:
        """What the backend holds of a task."""
        meta: dict[str, Any] = self.app.backend.get_task_meta(identifier)
        return meta

    def state(self, identifier: str) -> str:
        state: str = self.meta(identifier)["status"]
        return state

    def wait_state(self, identifier: str, *states: str) -> None:
        wait_until(lambda: self.state(identifier) in states, 20, f"{identifier} is {' or '.join(states)}", 0.1)

    def break_connections(self, worker: Worker) -> None:
        """The broker closes every connection; the worker is back when it answers."""
        self.broker.control("close_all_connections", "a test")
        pools.reset()
        self.app = self.new_client()
        worker.wait_answers(self.app)

    def works(self, id: str = "works") -> None:
        """It runs a task, and tells so."""
        self.wait_end(self.send("early", id, ignore_result=True))


@pytest.fixture
def project(broker: RabbitMQ, store: Redis, tmp_path: Path) -> Iterator[Project]:
    with ExitStack() as resources:
        yield Project(broker, store, tmp_path, resources)


@pytest.fixture
def fragile_project(own_broker: RabbitMQ, store: Redis, tmp_path: Path) -> Iterator[Project]:
    """On a broker that the test may trouble."""
    with ExitStack() as resources:
        yield Project(own_broker, store, tmp_path, resources)


# -- no control command ends the worker


def test_an_election_alone_ends_nobody(project: Project) -> None:
    worker = project.start()
    action = {"task": "jobs.early", "args": [{"n": 1}], "kwargs": {}, "options": {}}
    project.app.control.broadcast("election", arguments={"id": "vote", "topic": "task", "action": action})
    project.works()
    assert project.ask("ping") == {"ok": "pong"}
    assert worker.warm() == 0


def test_a_conflicting_queue_ends_nobody(project: Project) -> None:
    """A queue that is there already with other arguments closes the channel that declares it."""
    conflicting = f"{project.queue}-conflicting"
    with project.broker.connect() as connection:
        connection.channel().queue_declare(conflicting, durable=True, auto_delete=False, arguments={"x-max-length": 7})
    worker = project.start("-c", "2")
    held = project.hold("late", "held")
    project.ask("add_consumer", queue=conflicting)
    project.works()
    assert project.ask("ping") == {"ok": "pong"}
    project.open_gate()
    project.wait_end(held)
    assert len(project.journal.entries("start", id=held)) == 1
    assert conflicting in worker.output()
    assert worker.warm() == 0


def test_a_revoke_while_the_backend_hangs_freezes_nothing(project: Project, gate: Gate) -> None:
    project.backend = f"redis://127.0.0.1:{gate.port}/0"
    worker = project.start()
    project.ask("revoke", task_id="some task")
    wait_until(lambda: gate.accepted, 20, "the worker writes to its backend")
    for number in range(10):
        project.works(str(number))
    assert project.ask("ping") == {"ok": "pong"}
    assert worker.running


# -- after a reconnect


def test_a_time_limit_outlives_the_connection(fragile_project: Project) -> None:
    project = fragile_project
    worker = project.start("-c", "2")
    limited = project.send("early", "limited", {"n": 0, "seconds": 60}, time_limit=4)
    project.journal.wait_for("start", id=limited)
    project.break_connections(worker)
    project.wait_state(limited, "FAILURE", "SUCCESS")
    assert project.state(limited) == "FAILURE"
    assert worker.warm() == 0


def test_an_idle_process_works_after_a_reconnect(fragile_project: Project) -> None:
    """A task that is sent while another runs goes to the process that has nothing to do."""
    project = fragile_project
    worker = project.start("-c", "2")
    held = project.hold("early", "held")
    project.break_connections(worker)
    for number in range(4):
        project.works(str(number))
    project.open_gate()
    project.wait_end(held)
    project.wait_state(held, "SUCCESS")
    assert worker.warm() == 0


def test_a_late_task_runs_once_whatever_the_connection_does(fragile_project: Project) -> None:
    project = fragile_project
    worker = project.start("-c", "2")
    held = project.hold("late", "held")
    project.break_connections(worker)
    project.works()
    project.open_gate()
    project.wait_end(held)
    project.works("behind it")
    wait_until(lambda: project.broker.depths(project.queue) == (0, 0), 20, "the queue is empty", 0.2)
    assert len(project.journal.entries("start", id=held)) == 1
    assert worker.warm() == 0


def test_a_message_held_too_long_costs_the_channel_alone(fragile_project: Project) -> None:
    """RabbitMQ's `consumer_timeout`: the channel is closed and opened anew, the worker and its tasks go on."""
    project = fragile_project
    project.broker.evaluate(
        "application:set_env(rabbit, consumer_timeout, 1000), application:set_env(rabbit, channel_tick_interval, 500)."
    )
    worker = project.start("-c", "2")
    held = project.hold("late", "held")
    wait_until(lambda: "timed out" in project.broker.log() or "timeout" in worker.output(), 30, "the broker closes it")
    wait_until(lambda: (project.broker.counts(project.queue) or (0, 0))[1] == 1, 20, "it consumes again")
    project.works()
    project.open_gate()
    project.wait_end(held)
    project.wait_state(held, "SUCCESS")
    assert worker.warm() == 0


# -- prefetch and rates


def test_the_prefetch_count_comes_back(project: Project) -> None:
    """Also with `worker_eta_task_limit`, with which Celery's own sinks to 1."""
    project.start("-c", "2", settings={"worker_eta_task_limit": 10})
    base = project.ask("stats")["prefetch_count"]
    assert base == 8
    sent = [project.send("early", str(number), countdown=2) for number in range(20)]
    project.wait_answer("scheduled", lambda tasks: len(tasks) >= 10)
    for identifier in sent:
        project.wait_end(identifier)
    assert project.wait_answer("stats", lambda stats: stats["prefetch_count"] == base)


def test_a_rate_limited_task_blocks_no_other(project: Project) -> None:
    """More of them than the prefetch count, and another task behind them."""
    project.start("-c", "1", "--prefetch-multiplier", "1")
    for number in range(6):
        project.send("limited", f"limited {number}")
    project.works("behind them")
    assert len(project.journal.entries("start")) == 2


def test_a_revoked_scheduled_task_is_forgotten_at_once(project: Project) -> None:
    project.start()
    scheduled = project.send("late", "scheduled", countdown=3600)
    project.wait_answer("scheduled", lambda tasks: len(tasks) == 1)
    project.ask("revoke", task_id=scheduled)
    assert project.wait_answer("scheduled", lambda tasks: not tasks) == []
    wait_until(lambda: project.broker.depths(project.queue) == (0, 0), 20, "the queue is empty", 0.2)


# -- limits at run time


def test_new_time_limits_hold_for_tasks_that_start_later(project: Project) -> None:
    """Celery 5.6 says that it has set them."""
    project.start()
    project.ask("time_limit", task_name="jobs.early", soft=0.5, hard=30)
    limited = project.send("early", "limited", {"n": 0, "seconds": 60})
    project.wait_state(limited, "FAILURE")
    assert "SoftTimeLimitExceeded" in repr(project.meta(limited)["result"])


# -- odd tasks and messages


def test_a_task_that_raises_system_exit_has_failed(project: Project) -> None:
    """Celery's parent can't store the exception: no result, no event, and `active` names the task for ever."""
    worker = project.start("-c", "1")
    odd = {task: project.send(task, task, {"n": 0, "fail": "bye", "error": "SystemExit"}) for task in ("early", "late")}
    for identifier in odd.values():
        project.wait_state(identifier, "FAILURE")
    project.works()
    assert project.ask("active") == []
    wait_until(lambda: project.broker.depths(project.queue) == (0, 0), 20, "the queue is empty", 0.2)
    assert worker.warm() == 0


def test_a_message_of_100_mib(project: Project) -> None:
    worker = project.start("-c", "1")
    large = project.send("late", "large", {"n": 0, "padding": "x" * (100 << 20)})
    project.works("behind it")
    project.wait_end(large, 60)
    project.wait_state(large, "SUCCESS")
    wait_until(lambda: project.broker.depths(project.queue) == (0, 0), 20, "the queue is empty", 0.2)
    assert worker.warm() == 0


# -- state on disk


@pytest.mark.parametrize("first", ["celery", "agent"])
def test_a_state_file_serves_either_worker(project: Project, first: str) -> None:
    """What a worker of one kind has revoked, one of the other kind knows when it is given its --statedb."""
    state = project.home / "state"
    kinds = {"celery": "agent", "agent": "celery"}
    for kind in (first, kinds[first]):
        worker = Worker(
            project.broker,
            log=project.home / f"{kind}.log",
            queue=project.queue,
            options=["-c", "1", f"--statedb={state}"],
            settings={"task_default_queue": project.queue},
            environment=project.journal.environment,
            kind="celery" if kind == "celery" else "agent",
        )
        with worker:
            worker.wait_ready()
            worker.wait_answers(project.app)
            project.node = worker.node
            if kind == first:
                project.ask("revoke", task_id=f"{project.queue}-revoked")
            else:
                assert f"{project.queue}-revoked" in project.ask("revoked")
            assert worker.warm() == 0
