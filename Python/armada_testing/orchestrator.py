"""A run as the platform makes it: the definition in Redis, jobs by Celery's client, and the end of the run."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import amqp
import redis
from celery import Celery

from .processes import NotReady
from .rabbitmq import RabbitMQ
from .redis_server import Redis

TASK = "tasks.consume_message"


class Project:
    """A run of one project's code: `define`, start agents, `dispatch` jobs, `end`."""

    def __init__(self, broker: RabbitMQ, store: Redis, code: str, *, run_id: str | None = None) -> None:
        self.run_id = run_id or str(uuid.uuid4())
        self.code = code
        self._store = store
        self._broker = broker
        self.app = Celery("orchestrator", broker=broker.url)
        self.app.conf.task_ignore_result = True

    def define(self, pod_index: int = 0, **configuration: Any) -> None:
        """Puts the agent message under the run's identifier and the agent's index."""
        message = {"run_id": self.run_id, "code": self.code, **configuration}
        self.define_raw(json.dumps(message), pod_index)

    def define_raw(self, value: str | bytes, pod_index: int = 0) -> None:
        client = redis.Redis(host=self._store.host, port=self._store.port, db=0)
        client.set(f"{self.run_id}{pod_index}", value)
        client.close()

    def dispatch(self, job: Mapping[str, Any], **options: Any) -> str:
        """Sends one job; the task's id."""
        message = {"run_id": self.run_id, **job}
        identifier: str = self.app.send_task(TASK, args=[message], queue=self.run_id, **options).id
        return identifier

    def inspect(self, seconds: float = 1.0, destination: list[str] | None = None, limit: int | None = None) -> Any:
        """Celery's inspection client; returns as soon as `limit` nodes have answered."""
        return self.app.control.inspect(timeout=seconds, destination=destination, limit=limit)

    def waiting(self) -> int:
        """Messages on the queue that no agent has, 0 when there is no queue."""
        with self.app.connection_for_read() as connection:
            try:
                count: int = connection.default_channel.queue_declare(self.run_id, passive=True).message_count
            except amqp.exceptions.NotFound:
                return 0
            return count

    def active(self) -> list[dict[str, Any]]:
        """The run's tasks that agents report as running."""
        replies: dict[str, list[dict[str, Any]]] = self.inspect().active() or {}
        return [
            task
            for tasks in replies.values()
            for task in tasks
            if task.get("delivery_info", {}).get("routing_key") == self.run_id
        ]

    def nodes(self) -> list[str]:
        """The nodes that consume the run's queue."""
        replies: dict[str, list[dict[str, Any]]] = self.inspect().active_queues() or {}
        return [node for node, queues in replies.items() if any(queue.get("name") == self.run_id for queue in queues)]

    def end(
        self, seconds: float = 120, interval: float = 0.5, progress: Callable[[int, int], None] | None = None
    ) -> list[str]:
        """Polls until nothing waits and nothing runs, then shuts down each node of the queue; the nodes' names."""
        deadline = time.monotonic() + seconds
        while True:
            waiting = self.waiting()
            active = self.active() if waiting == 0 else []
            if progress is not None:
                progress(waiting, len(active))
            if waiting == 0 and not active:
                break
            if time.monotonic() > deadline:
                raise NotReady(f"the run did not end within {seconds:g} s: {waiting} waiting, {len(active)} running")
            time.sleep(interval)
        nodes = self.nodes()
        for node in nodes:
            self.app.control.shutdown(destination=[node])
        return nodes

    def close(self) -> None:
        self.app.close()
