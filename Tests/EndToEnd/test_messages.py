"""Every shape of message: what is run, what is acknowledged, what is rejected, and that the agent lives on."""

from __future__ import annotations

import json
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import amqp
import pytest

from armada_testing.agent import Agent, Kind
from armada_testing.orchestrator import TASK
from armada_testing.processes import wait_until
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.redis_server import Redis

from .conftest import Run

PICKLE = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def good_headers() -> dict[str, Any]:
    return {
        "lang": "py",
        "task": TASK,
        "id": "",  # Filled in when it is sent.
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": None,
        "parent_id": None,
        "argsrepr": "()",
        "kwargsrepr": "{}",
        "origin": "test",
        "ignore_result": True,
        "stamped_headers": None,
        "stamps": {},
    }


@dataclass(frozen=True)
class Shape:
    """A message that differs from a good one, and what becomes of it.

    `outcome`: "ack" (gone, not run), "reject" (dead-lettered), "run", "fail" (started by the tracer and failed there).
    """

    name: str
    outcome: Literal["ack", "reject", "run", "fail"]
    headers: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    bare: bool = False  # No headers at all, as in protocol 1.
    body: Any = None  # Bytes as they are; else JSON; None is a good body.
    properties: dict[str, Any] = field(default_factory=dict)
    ends_stock: bool = False


JOB = {"n": 7}
GOOD_BODY = [[JOB], {}, EMBED]
PROTOCOL_1 = {
    "task": TASK,
    "id": "p1",
    "args": [JOB],
    "kwargs": {},
    "retries": 0,
    "eta": None,
    "expires": None,
    "utc": True,
}


def compressed(body: Any) -> bytes:
    return zlib.compress(json.dumps(body).encode())


SHAPES = [
    Shape("good", "run"),
    Shape("protocol 1", "run", bare=True, body=PROTOCOL_1),
    Shape("hybrid of protocols 1 and 2", "run", body=PROTOCOL_1),
    Shape("compressed", "run", headers={"compression": "application/x-gzip"}, body=compressed(GOOD_BODY)),
    Shape("embed is null", "run", body=[[JOB], {}, None]),
    Shape("a large body", "run", body=[[{**JOB, "padding": "x" * 300_000}], {}, EMBED]),
    Shape("no task, body is no task", "reject", bare=True, body={"hello": 1}),
    Shape("no task, body is a list", "reject", bare=True, body=[1, 2]),
    Shape("no task, body undecodable", "ack", bare=True, body=b"{nope"),
    Shape(
        "no task, content type not accepted",
        "ack",
        bare=True,
        body=b"x",
        properties=PICKLE,
    ),
    Shape(
        "content type not accepted",
        "reject",
        body=b"\x80\x04N.",
        properties=PICKLE,
    ),
    Shape("body is not JSON", "ack", body=b"{nope"),
    Shape("body is not UTF-8", "ack", body=b'[["\xff"], {}, {}]'),
    Shape("body is not compressed as it says", "ack", headers={"compression": "application/x-gzip"}),
    Shape("unknown task", "reject", headers={"task": "tasks.unknown"}),
    Shape("unknown task, body undecodable", "reject", headers={"task": "tasks.unknown"}, body=b"\xff\xfe"),
    Shape("eta is no time", "reject", headers={"eta": "soon"}),
    Shape("expires is no time", "reject", headers={"expires": "later"}),
    Shape("protocol 1, kwargs is a list", "reject", bare=True, body={**PROTOCOL_1, "kwargs": [1]}),
    Shape("kwargs is a list", "fail", body=[[JOB], [1], EMBED]),
    Shape("wrong number of arguments", "fail", body=[[JOB, 2, 3], {}, EMBED]),
    Shape("body has two parts", "reject", body=[[JOB], {}], ends_stock=True),
    Shape("body is empty", "reject", body=b"", ends_stock=True),
    Shape("body is null", "reject", body=b"null", ends_stock=True),
    Shape("body is a number", "reject", body=b"5", ends_stock=True),
    Shape("no content type", "reject", properties={"content_type": None, "content_encoding": None}, ends_stock=True),
    Shape("no id", "reject", without=("id",), ends_stock=True),
    Shape("time limit is a number", "reject", headers={"timelimit": 5}, ends_stock=True),
    Shape("time limits are strings", "reject", headers={"timelimit": ["a", "b"]}, ends_stock=True),
    Shape("task is a list", "reject", headers={"task": ["a"]}, ends_stock=True),
    Shape(
        "protocol 1, unknown task without id",
        "reject",
        bare=True,
        body={"task": "tasks.unknown", "args": []},
        ends_stock=True,
    ),
]


def publish(broker: RabbitMQ, queue: str, shape: Shape) -> None:
    """Sends it with a publisher's confirm: when this returns, the queue has it."""
    headers = {**good_headers(), "id": str(uuid.uuid4()), **shape.headers}
    for name in shape.without:
        del headers[name]
    body = GOOD_BODY if shape.body is None else shape.body
    properties = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "delivery_mode": 2,
        **shape.properties,
    }
    message = amqp.Message(
        body if isinstance(body, bytes) else json.dumps(body).encode(),
        application_headers={} if shape.bare else headers,
        correlation_id=headers.get("id", ""),
        **{name: value for name, value in properties.items() if value is not None},
    )
    connection = amqp.Connection(f"127.0.0.1:{broker.port}", userid="guest", password="guest", confirm_publish=True)
    connection.connect()
    with connection:
        connection.channel().basic_publish(message, routing_key=queue)


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


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_message_of_this_shape(setting: Setting, kind: Kind, shape: Shape) -> None:
    if kind == "celery" and shape.ends_stock:
        pytest.skip("ends a stock worker")
    run, broker = setting.run, setting.run.broker
    assert setting.agent.process.running, setting.agent.process.tail()
    dead_before = (broker.counts(setting.dead) or (0, 0))[0]
    ran_before = run.times("end")[7]

    publish(broker, run.run_id, shape)
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
