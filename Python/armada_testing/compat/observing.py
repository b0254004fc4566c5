"""The events of one virtual host, as they come over the wire."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import amqp

from ..processes import wait_until
from ..rabbitmq import VirtualHost

QUEUE = "compat.events"


@dataclass(frozen=True)
class Message:
    """One message of the event exchange: how it was published, and the events in it."""

    routing_key: str
    properties: dict[str, Any]
    is_list: bool
    events: list[dict[str, Any]]


class Events:
    """Listens to the event exchange for as long as the `with` block runs."""

    def __init__(self, host: VirtualHost, exchange: str) -> None:
        self._host = host
        self._exchange = exchange
        self._messages: list[Message] = []
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Events:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the event exchange can't be listened to")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._stop.is_set():
            # A scenario may break every connection; the queue stays, and so does what comes meanwhile.
            with contextlib.suppress(OSError, amqp.exceptions.ConnectionError), self._host.connect() as connection:
                channel = connection.channel()
                channel.exchange_declare(self._exchange, "topic", durable=True, auto_delete=False)
                channel.queue_declare(QUEUE, durable=True, auto_delete=False)
                channel.queue_bind(QUEUE, self._exchange, "#")
                channel.basic_consume(QUEUE, callback=self._receive)
                self._ready.set()
                while not self._stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        connection.drain_events(timeout=0.1)

    def _receive(self, message: amqp.Message) -> None:
        body = json.loads(message.body)
        properties = dict(message.properties)
        self._messages.append(
            Message(
                message.delivery_info["routing_key"],
                properties,
                isinstance(body, list),
                body if isinstance(body, list) else [body],
            )
        )
        message.channel.basic_ack(message.delivery_tag)

    def mark(self) -> int:
        """A place in the stream: what comes later is `since` it."""
        return len(self._messages)

    def messages(self, since: int = 0) -> list[Message]:
        return self._messages[since:]

    def all(self, since: int = 0) -> list[dict[str, Any]]:
        return [event for message in self._messages[since:] for event in message.events]

    def wait(
        self, matches: Callable[[dict[str, Any]], bool], what: str, since: int = 0, times: int = 1, seconds: float = 10
    ) -> None:
        """Until so many events match."""

        def found() -> bool:
            return sum(1 for event in self.all(since) if matches(event)) >= times

        wait_until(found, seconds, f"{times} event(s): {what}")
