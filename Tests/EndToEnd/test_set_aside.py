"""A message that costs its Python worker each time: how often it is run, and where it is in the end."""

from __future__ import annotations

import amqp
import pytest

from armada_testing.processes import wait_until

from .conftest import PROJECT_CODE, Run
from .probes import Probes

pytestmark = pytest.mark.usefixtures("ours")

DEADLY = """

@app.task(name="tasks.deadly", acks_late=True, reject_on_worker_lost=True, queue=agent_message["run_id"])
def deadly(number):
    note("start", number)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(
    name="tasks.endless",
    acks_late=True,
    acks_on_failure_or_timeout=False,
    time_limit=0.5,
    queue=agent_message["run_id"],
)
def endless(number, deaf=False):
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("start", number)
    while True:
        time.sleep(60)
"""

QUORUM = '\napp.conf.task_create_missing_queue_type = "quorum"\n'


@pytest.fixture
def project_code() -> str:
    return PROJECT_CODE + DEADLY


def send(run: Run, task: str, number: int, **arguments: bool) -> str:
    identifier: str = run.project.app.send_task(task, args=[number], kwargs=arguments, queue=run.run_id).id
    return identifier


def send_deadly(run: Run, number: int) -> str:
    return send(run, "tasks.deadly", number)


def aside(run: Run) -> str:
    return f"{run.run_id}.set-aside"


def taken(run: Run, queue: str) -> list[amqp.basic_message.Message]:
    """All messages that are ready on a queue."""
    found = []
    with run.broker.connect() as connection:
        channel = connection.channel()
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            found.append(message)
    return found


def count_aside(run: Run) -> int:
    counts = run.broker.counts(aside(run))
    return counts[0] if counts else 0


def test_a_deadly_message_is_set_aside_after_its_attempts(run: Run) -> None:
    probes = Probes()
    agent = run.agent(environment={"AGENT_MAX_DELIVERIES": "3", **probes.environment})
    identifier = send_deadly(run, 1)
    run.dispatch(2)
    wait_until(lambda: count_aside(run), 60, "the message is set aside")
    run.wait_for("end", 2)
    run.wait_empty()
    assert run.times("start")[1] == 3
    (message,) = taken(run, aside(run))
    headers = message.headers
    assert headers["id"] == identifier
    assert headers["x-armada-lost-workers"] == 3
    assert headers["x-armada-set-aside"]["queue"] == run.run_id
    assert headers["x-armada-set-aside"]["reason"] == "signal 9 (SIGKILL)"
    assert headers["x-armada-set-aside"]["node"] == agent.node
    assert message.properties["delivery_mode"] == 2
    assert "AGENT_MAX_DELIVERIES" in agent.output()
    assert probes.metrics()["armada_agent_messages_set_aside_total"] == {(): 1}
    assert agent.warm() == 0


@pytest.mark.parametrize("project_code", [PROJECT_CODE + QUORUM + DEADLY], ids=["quorum"])
def test_on_a_quorum_queue_as_well(run: Run) -> None:
    run.project.app.conf.task_create_missing_queue_type = "quorum"
    agent = run.agent(environment={"AGENT_MAX_DELIVERIES": "3"})
    assert f"{run.run_id}\tquorum" in run.broker.control("list_queues", "--no-table-headers", "name", "type")
    send_deadly(run, 1)
    wait_until(lambda: count_aside(run), 60, "the message is set aside")
    assert run.times("start")[1] == 3
    (message,) = taken(run, aside(run))
    assert message.headers["x-armada-lost-workers"] == 3
    assert "x-delivery-count" not in message.headers
    assert agent.warm() == 0


def test_all_agents_of_a_queue_count_together(run: Run) -> None:
    agents = [run.agent(pod_index=0, environment={"AGENT_MAX_DELIVERIES": "4"})]
    run.project.define(1, journal=str(run.journal))
    agents.append(run.agent(ready=False, pod_index=1, environment={"AGENT_MAX_DELIVERIES": "4"}))
    agents[1].wait_ready(consumers=2)
    for number in range(6):
        send_deadly(run, number)
    wait_until(lambda: count_aside(run) == 6, 60, "all messages are set aside")
    run.wait_empty()
    assert run.times("start") == dict.fromkeys(range(6), 4)
    assert [message.headers["x-armada-lost-workers"] for message in taken(run, aside(run))] == [4] * 6
    for agent in agents:
        assert agent.warm() == 0


@pytest.mark.parametrize("deaf", [False, True], ids=["ends", "is-killed"])
def test_a_message_that_outlasts_its_hard_time_limit(run: Run, deaf: bool) -> None:
    agent = run.agent(environment={"AGENT_MAX_DELIVERIES": "2"})
    identifier = send(run, "tasks.endless", 1, deaf=deaf)
    run.dispatch(2)
    wait_until(lambda: count_aside(run), 60, "the message is set aside")
    run.wait_for("end", 2)
    run.wait_empty()
    assert run.times("start")[1] == 2
    (message,) = taken(run, aside(run))
    assert message.headers["id"] == identifier
    assert message.headers["x-armada-lost-workers"] == 2
    assert message.headers["x-armada-set-aside"]["reason"] == "hard time limit of 0.5 s"
    assert agent.warm() == 0


def test_a_message_that_cannot_be_set_aside_is_not_lost(run: Run) -> None:
    with run.broker.connect() as connection:
        arguments = {"x-max-length": 0, "x-overflow": "reject-publish"}
        connection.channel().queue_declare(aside(run), durable=True, auto_delete=False, arguments=arguments)
    agent = run.agent(environment={"AGENT_MAX_DELIVERIES": "1"})
    send_deadly(run, 1)
    run.wait_for("start", 1, times=3)
    assert count_aside(run) == 0
    with run.broker.connect() as connection:
        connection.channel().queue_delete(aside(run))
    wait_until(lambda: count_aside(run), 60, "the message is set aside once it can be")
    run.wait_empty()
    assert agent.warm() == 0


@pytest.mark.parametrize("task", ["tasks.deadly", "tasks.endless"])
def test_without_the_limit_a_message_comes_back_each_time(run: Run, task: str) -> None:
    agent = run.agent()
    send(run, task, 1)
    run.wait_for("start", 1, times=6)
    assert run.broker.counts(aside(run)) is None
    agent.process.kill()
