"""Messages of every shape, and what a worker makes of each."""

from __future__ import annotations

import json
import uuid
import zlib
from dataclasses import dataclass, field
from typing import Any, Literal

import amqp

from .rabbitmq import Broker

PICKLE = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
PROPERTIES = {"content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2}
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def good_headers(task: str, identifier: str, **others: Any) -> dict[str, Any]:
    """The headers that a Celery 5.6 client sends (protocol 2); `others` replace them."""
    return {
        "lang": "py",
        "task": task,
        "id": identifier,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": identifier,
        "parent_id": None,
        "argsrepr": "()",
        "kwargsrepr": "{}",
        "origin": "test",
        "ignore_result": True,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
        **others,
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


def compressed(body: Any) -> bytes:
    return zlib.compress(json.dumps(body).encode())


def shapes(task: str, job: dict[str, Any]) -> list[Shape]:
    """All shapes, for a task that takes `job` as its only argument."""
    protocol_1 = {
        "task": task,
        "id": "p1",
        "args": [job],
        "kwargs": {},
        "retries": 0,
        "eta": None,
        "expires": None,
        "utc": True,
    }
    return [
        Shape("good", "run"),
        Shape("protocol 1", "run", bare=True, body=protocol_1),
        Shape("hybrid of protocols 1 and 2", "run", body=protocol_1),
        Shape("compressed", "run", headers={"compression": "application/x-gzip"}, body=compressed([[job], {}, EMBED])),
        Shape("embed is null", "run", body=[[job], {}, None]),
        Shape("a large body", "run", body=[[{**job, "padding": "x" * 300_000}], {}, EMBED]),
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
        Shape("protocol 1, kwargs is a list", "reject", bare=True, body={**protocol_1, "kwargs": [1]}),
        Shape("kwargs is a list", "fail", body=[[job], [1], EMBED]),
        Shape("wrong number of arguments", "fail", body=[[job, 2, 3], {}, EMBED]),
        Shape("body has two parts", "reject", body=[[job], {}], ends_stock=True),
        Shape("body is empty", "reject", body=b"", ends_stock=True),
        Shape("body is null", "reject", body=b"null", ends_stock=True),
        Shape("body is a number", "reject", body=b"5", ends_stock=True),
        Shape(
            "no content type", "reject", properties={"content_type": None, "content_encoding": None}, ends_stock=True
        ),
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


def publish(broker: Broker, queue: str, task: str, job: dict[str, Any], shape: Shape, identifier: str = "") -> None:
    """Sends it with a publisher's confirm: when this returns, the queue has it."""
    headers = {**good_headers(task, identifier or str(uuid.uuid4())), **shape.headers}
    for name in shape.without:
        del headers[name]
    body = [[job], {}, EMBED] if shape.body is None else shape.body
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    publish_raw(broker, "", queue, {} if shape.bare else headers, raw, **shape.properties)


def publish_raw(
    broker: Broker, exchange: str, routing_key: str, headers: dict[str, Any], body: bytes, **properties: Any
) -> None:
    """Sends any message with a publisher's confirm: when this returns, the queue has it."""
    kept = {**PROPERTIES, "correlation_id": headers.get("id", ""), **properties}
    message = amqp.Message(
        body, application_headers=headers, **{name: value for name, value in kept.items() if value is not None}
    )
    with broker.connect() as connection:
        channel = connection.channel()
        channel.confirm_select()
        channel.basic_publish_confirm(message, exchange=exchange, routing_key=routing_key)
