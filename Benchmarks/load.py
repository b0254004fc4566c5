"""Jobs put on a queue fast: every frame is encoded beforehand, the bytes are then written in large pieces."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Iterator
from itertools import islice

import amqp

from armada_testing.messages import good_headers
from armada_testing.orchestrator import TASK
from armada_testing.processes import wait_until
from armada_testing.rabbitmq import RabbitMQ

_METHOD, _HEADER, _BODY = 1, 2, 3
_BASIC_CLASS, _PUBLISH = 60, 40
_PIECE = 500


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def encoded_jobs(run_id: str, numbers: range, channel: int, eta: str | None = None) -> Iterator[bytes]:
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
            application_headers=good_headers(TASK, identifier, eta=eta, argsrepr="[{'run_id': '...', 'n': 0}]"),
            delivery_mode=2,
            priority=0,
            correlation_id=identifier,
            reply_to=identifier,
        )
        properties: bytes = message._serialize_properties()
        header = struct.pack(">HHQ", _BASIC_CLASS, 0, len(body)) + properties
        yield method + _frame(_HEADER, channel, header) + _frame(_BODY, channel, body)


class Source:
    """Puts jobs on a run's queue, which it declares as Celery does: `with Source(broker, run_id) as source:`."""

    def __init__(self, broker: RabbitMQ, run_id: str) -> None:
        self._connection = broker.connect()
        self._run_id = run_id

    def __enter__(self) -> Source:
        self._channel = self._connection.channel()
        self._channel.exchange_declare(self._run_id, "direct", durable=True, auto_delete=False)
        self._channel.queue_declare(self._run_id, durable=True, auto_delete=False)
        self._channel.queue_bind(self._run_id, self._run_id, self._run_id)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def publish(self, numbers: range, eta: str | None = None) -> None:
        """Writes these jobs; the broker has not confirmed them."""
        self._connection.sock.settimeout(60)
        jobs = encoded_jobs(self._run_id, numbers, self._channel.channel_id, eta)
        while piece := b"".join(islice(jobs, _PIECE)):
            self._connection.sock.sendall(piece)

    def waiting(self) -> int:
        """Jobs on the queue that no agent has."""
        count: int = self._channel.queue_declare(self._run_id, passive=True).message_count
        return count


def publish_ahead(broker: RabbitMQ, run_id: str, numbers: range, eta: str | None = None) -> None:
    """Puts the jobs on the run's queue and waits until all of them are there."""
    with Source(broker, run_id) as source:
        source.publish(numbers, eta)
        wait_until(lambda: source.waiting() >= len(numbers), 300, "the jobs are queued")
