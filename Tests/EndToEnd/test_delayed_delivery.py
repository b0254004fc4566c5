"""Quorum queues: the broker keeps delayed messages, by what a stock worker declares for it, to the letter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kombu import Exchange, Queue
from kombu.transport.native_delayed_delivery import (
    bind_queue_to_native_delayed_delivery_exchange,
    declare_native_delayed_delivery_exchanges_and_queues,
)

from armada_testing.processes import wait_until
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.redis_server import Redis

from .conftest import PROJECT_CODE, Run

QUORUM = {"task_create_missing_queue_type": "quorum", "task_create_missing_queue_exchange_type": "topic"}
CODE = f"app.conf.update({QUORUM!r})\n{PROJECT_CODE}"


@pytest.fixture
def quorum_run(own_broker: RabbitMQ, store: Redis, tmp_path: Path) -> Iterator[Run]:
    """A run whose queue is a quorum queue behind a topic exchange."""
    with ExitStack() as resources:
        run = Run(own_broker, store, tmp_path, resources, CODE)
        run.project.app.conf.update(QUORUM)
        # A stock client looks for quorum queues among those that it knows.
        run.project.app.amqp.queues.select(run.run_id)
        yield run


def topology(broker: RabbitMQ) -> dict[str, list[str]]:
    """All that is declared, but for remote control's queues, which come and go."""
    lists = {
        "exchanges": ("list_exchanges", "name", "type", "durable", "auto_delete", "internal", "arguments"),
        "queues": ("list_queues", "name", "durable", "auto_delete", "arguments"),
        "bindings": ("list_bindings", "source_name", "destination_kind", "destination_name", "routing_key"),
    }
    return {
        kind: sorted(line for line in broker.control(*command).splitlines() if "pidbox" not in line)
        for kind, command in lists.items()
    }


def test_the_broker_keeps_what_is_due_later(quorum_run: Run, ours: None) -> None:
    run = quorum_run
    agent = run.agent()
    sent = time.time()
    run.project.dispatch({"n": 1}, countdown=2)
    # 3600 has its highest bit at level 11: the message waits there, and the agent knows nothing of it.
    run.project.dispatch({"n": 2}, countdown=3600)
    wait_until(lambda: run.broker.counts("celery_delayed_11") == (1, 0), 20, "the broker keeps the second job")
    assert run.project.inspect(destination=[agent.node], limit=1).scheduled() == {agent.node: []}
    run.wait_for("end", 1)
    assert run.steps("start")[0].time - sent >= 2
    assert agent.warm() == 0
    assert run.times("start") == {1: 1}


def test_a_stock_worker_finds_nothing_to_add(quorum_run: Run, ours: None) -> None:
    run = quorum_run
    run.agent()
    declared = topology(run.broker)
    app = run.project.app
    with app.connection_for_write() as connection:
        # Refused by the broker where a name's properties or arguments are not the same.
        declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
        bind_queue_to_native_delayed_delivery_exchange(connection, app.amqp.queues[run.run_id])
    assert topology(run.broker) == declared
    assert any("celery_delayed_0" in line for line in declared["queues"])
    assert any(line.startswith(f"celery_delayed_delivery\texchange\t{run.run_id}\t") for line in declared["bindings"])


def test_a_broker_that_refuses_delays_no_other_task(quorum_run: Run, ours: None) -> None:
    run = quorum_run
    with run.broker.connect() as connection:
        connection.channel().exchange_declare("celery_delayed_27", "fanout", durable=True, auto_delete=False)
    agent = run.agent()
    run.dispatch(1)
    run.wait_for("end", 1)
    assert "delayed delivery is not set up" in agent.output()
    assert agent.warm() == 0


@pytest.fixture
def direct_run(quorum_run: Run) -> Run:
    """As `quorum_run`, but behind a direct exchange."""
    run = quorum_run
    run.project.code = CODE.replace("'topic'", "'direct'")
    run.project.define(journal=str(run.journal))
    queues = run.project.app.amqp.queues
    queues.add(Queue(run.run_id, Exchange(run.run_id), run.run_id, queue_arguments={"x-queue-type": "quorum"}))
    return run


def test_a_direct_exchange_leaves_the_delay_to_the_agent(direct_run: Run, ours: None) -> None:
    run = direct_run
    agent = run.agent()
    assert "a direct exchange has no delayed delivery" in agent.output()
    sent = time.time()
    run.project.dispatch({"n": 1}, countdown=1.5)
    run.wait_for("end", 1)
    assert run.steps("start")[0].time - sent >= 1.5


def test_held_tasks_keep_no_other_away_where_prefetch_is_per_consumer(direct_run: Run, ours: None) -> None:
    """A quorum queue has no prefetch count of its channel: to raise it, the consumer is renewed."""
    run = direct_run
    agent = run.agent()
    for number in range(12):
        run.project.dispatch({"n": number}, countdown=3600)
    run.dispatch(12)
    # With the count that it began with, 1, the agent would have got the first one alone.
    run.wait_for("end", 12)
    inspect = run.project.inspect(destination=[agent.node], limit=1)
    assert len(inspect.scheduled()[agent.node]) == 12
    assert inspect.stats()[agent.node]["prefetch_count"] == 16
    # What was held over the consumers that are gone by now goes back all the same.
    assert agent.warm() == 0
    wait_until(lambda: run.broker.counts(run.run_id) == (12, 0), 20, "all held tasks are back on the queue")
    assert run.times("start") == {12: 1}
