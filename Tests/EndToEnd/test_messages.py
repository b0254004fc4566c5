"""Every shape of message: what is run, what is acknowledged, what is rejected, and that the agent lives on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone

import pytest

from armada_testing.agent import Agent, Kind
from armada_testing.messages import Shape, publish, shapes
from armada_testing.orchestrator import TASK
from armada_testing.processes import wait_until
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.redis_server import Redis

from .conftest import Run

JOB = {"n": 7}


class Setting:
    """One agent for all shapes: that it lives through all of them is a part of what is tested."""

    def __init__(self, run: Run, agent: Agent, dead: str) -> None:
        self.run = run
        self.agent = agent
        self.dead = dead
        self.sent = 0


@pytest.fixture(scope="module")
def setting(broker: RabbitMQ, store: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with ExitStack() as resources:
        run = Run(broker, store, tmp_path_factory.mktemp("messages"), resources)
        dead = f"dead-{run.run_id}"
        with broker.connect() as connection:
            connection.channel().queue_declare(dead, durable=True, auto_delete=False)
        # Tells a rejection from an ack: what is rejected goes to another queue.
        definition = json.dumps({"dead-letter-exchange": "", "dead-letter-routing-key": dead})
        broker.control("set_policy", "--apply-to", "queues", dead, f"^{run.run_id}$", definition)
        yield Setting(run, run.agent(), dead)


@pytest.mark.parametrize("shape", shapes(TASK, JOB), ids=lambda shape: shape.name)
def test_a_message_of_this_shape(setting: Setting, kind: Kind, shape: Shape) -> None:
    if kind == "celery" and shape.ends_stock:
        pytest.skip("ends a stock worker")
    run, broker = setting.run, setting.run.broker
    assert setting.agent.process.running, setting.agent.process.tail()
    dead_before = (broker.counts(setting.dead) or (0, 0))[0]
    ran_before = run.times("end")[7]

    publish(broker, run.run_id, TASK, JOB, shape)
    setting.sent += 1
    marker = 1000 + setting.sent
    run.dispatch(marker)  # Behind it on the same queue, with prefetch 1: once this ran, the other is dealt with.
    wait_until(
        lambda: run.times("end")[marker] or not setting.agent.process.running, 30, "the good job behind it is done"
    )

    assert setting.agent.process.running, setting.agent.process.tail()
    assert run.times("end")[7] - ran_before == (1 if shape.outcome == "run" else 0)
    expected_dead = dead_before + (1 if shape.outcome == "reject" else 0)
    wait_until(lambda: (broker.counts(setting.dead) or (0, 0))[0] >= expected_dead, 10, "the message is rejected")
    assert (broker.counts(setting.dead) or (0, 0))[0] == expected_dead


def test_nothing_is_left_on_the_queue(setting: Setting) -> None:
    setting.run.wait_empty()
    assert setting.agent.warm() == 0


def test_a_countdown_is_kept(run: Run) -> None:
    run.agent()
    sent = time.time()
    run.project.dispatch({"n": 1}, countdown=1.5)
    run.wait_for("end", 1)
    assert run.steps("start")[0].time - sent >= 1.5
    run.wait_empty()


def test_an_expired_job_is_not_run(run: Run) -> None:
    run.project.dispatch({"n": 1}, expires=datetime.now(timezone.utc) - timedelta(seconds=60))
    run.dispatch(2)
    run.agent()
    run.wait_for("end", 2)
    run.wait_empty()
    assert run.times("start") == {2: 1}


def test_the_log_names_the_unknown_task(setting: Setting) -> None:
    assert "tasks.unknown" in setting.agent.output()
