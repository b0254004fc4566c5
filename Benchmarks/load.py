"""Jobs put on a queue fast: every frame is encoded beforehand, the bytes are then written in large pieces."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Iterator

import amqp

from armada_testing.orchestrator import TASK
from armada_testing.processes import wait_until
from armada_testing.rabbitmq import RabbitMQ

_METHOD, _HEADER, _BODY = 1, 2, 3
_BASIC_CLASS, _PUBLISH = 60, 40
_PIECE = 500


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def _message_headers(identifier: str) -> dict[str, object]:
    """What Celery 5.6's client sends (protocol 2)."""
    return {
        "lang": "py",
        "task": TASK,
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
        "argsrepr": "[{'run_id': '...', 'n': 0}]",
        "kwargsrepr": "{}",
        "origin": "gen1@benchmark",
        "ignore_result": True,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }


def encoded_jobs(run_id: str, numbers: range, channel: int) -> Iterator[bytes]:
    """The three frames of each job."""
    key = run_id.encode()
    method = _frame(
        _METHOD,
        channel,
        struct.pack(">HHH", _BASIC_CLASS, _PUBLISH, 0) + b"\x00" + bytes([len(key)]) + key + b"\x00",
    )
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    for number in numbers:
        identifier = str(uuid.uuid4())
        body = json.dumps([[{"run_id": run_id, "n": number}], {}, embed]).encode()
        message = amqp.Message(
            body,
            content_type="application/json",
            content_encoding="utf-8",
            application_headers=_message_headers(identifier),
            delivery_mode=2,
            priority=0,
            correlation_id=identifier,
            reply_to=identifier,
        )
        properties: bytes = message._serialize_properties()
        header = struct.pack(">HHQ", _BASIC_CLASS, 0, len(body)) + properties
        yield method + _frame(_HEADER, channel, header) + _frame(_BODY, channel, body)


def publish_ahead(broker: RabbitMQ, run_id: str, numbers: range) -> None:
    """Declares the run's queue as Celery does, puts the jobs on it and waits until all of them are there."""
    with broker.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare(run_id, "direct", durable=True, auto_delete=False)
        channel.queue_declare(run_id, durable=True, auto_delete=False)
        channel.queue_bind(run_id, run_id, run_id)
        jobs = list(encoded_jobs(run_id, numbers, channel.channel_id))
        connection.sock.settimeout(60)
        for start in range(0, len(jobs), _PIECE):
            connection.sock.sendall(b"".join(jobs[start : start + _PIECE]))
        wait_until(
            lambda: channel.queue_declare(run_id, passive=True).message_count >= len(jobs), 120, "the jobs are queued"
        )
