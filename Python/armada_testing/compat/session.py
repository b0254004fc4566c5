"""One worker of one kind in one setting: what scenarios act with."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import amqp
import redis
from celery import Celery
from kombu import pools

from ..agent import Kind
from ..messages import EMBED, good_headers, publish_raw
from ..processes import NotReady, wait_until
from ..rabbitmq import RabbitMQ, VirtualHost
from ..redis_server import Redis
from ..worker import Worker, client
from .observing import Events
from .recording import DEAD, NODE, Recording
from .table import Scenario, Setting


def host_name(setting: str, kind: Kind, suffix: str) -> str:
    """The virtual host of one side of a setting."""
    return f"{re.sub('[^a-z0-9]+', '-', setting)}-{kind}{suffix}"


class Session(Recording):
    """`with Session(…) as session:` prepares the servers; `start` starts the worker."""

    def __init__(
        self, setting: Setting, kind: Kind, broker: RabbitMQ, store: Redis, database: int, home: Path, suffix: str = ""
    ) -> None:
        self.kind = kind
        self.home = home
        self.broker = broker
        self.node = NODE
        self.backend = {
            "redis": f"redis://{store.host}:{store.port}/{database}",
            "rpc": "rpc://",
            "database": f"db+sqlite:///{home}/results.sqlite",
            None: None,
        }[setting.backend]
        host = VirtualHost(broker, host_name(setting.name, kind, suffix))
        hidden = {
            str(home): "<home>",
            self.backend or "": "<backend>",
            host.name: "<vhost>",
            str(broker.port): "<port>",
            str(store.port): "<redis port>",
        }
        super().__init__(setting, host, redis.Redis(host=store.host, port=store.port, db=database), home, hidden)
        self.app = self.new_client()
        self.worker = self.new_worker()
        self._resources = contextlib.ExitStack()

    # -- its life

    def __enter__(self) -> Session:
        with contextlib.ExitStack() as resources:
            self.home.mkdir(parents=True, exist_ok=True)
            with self.host.connect() as connection:
                connection.channel().queue_declare(DEAD, durable=True, auto_delete=False)
            self.events = resources.enter_context(Events(self.host, self.setting.event_exchange))
            resources.callback(self.redis.close)
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def new_worker(self, node: str = NODE, kind: Kind | None = None, **options: Any) -> Worker:
        """Another worker of the same setting; entered and left by the caller."""
        setting = self.setting
        kind = kind or self.kind
        given = (*setting.options, *(setting.ours if kind == "agent" else ()))
        arguments: dict[str, Any] = {
            "options": [option.replace("HOME", str(self.home)) for option in given],
            "queue": setting.queue,
            "settings": setting.settings,
            # The seed makes the order of sets, where an answer shows one, the same.
            "environment": {"PYTHONHASHSEED": "0", **setting.environment, **self.journal.environment},
            **options,
        }
        return Worker(
            self.host,
            log=self.home / f"{node.partition('@')[0]}.log",
            node=node,
            backend=self.backend,
            kind=kind,
            **arguments,
        )

    def new_client(self) -> Celery:
        """A client of the same configuration as the worker's."""
        return client(self.host, self.backend, **self.setting.settings)

    def break_connections(self) -> None:
        """The broker closes all connections; the worker is back when it answers."""
        self.broker.control("close_all_connections", "--vhost", self.host.name, "a test")
        pools.reset()
        self.app.close()
        self.app = self.new_client()
        self.worker.wait_ready(20)
        self.worker.wait_answers(self.app, 20)

    def start(self) -> None:
        """Starts the worker and waits until it works."""
        if self.setting.prepare is not None:
            self.setting.prepare(self)
        self._resources.enter_context(self.worker)
        self.worker.wait_ready(20)
        if self.setting.answers:
            self.worker.wait_answers(self.app, 10)

    def restart(self) -> None:
        """Once more, after its end."""
        self.worker.start()
        self.worker.wait_ready(20)
        if self.setting.answers:
            self.worker.wait_answers(self.app, 10)

    def perform(self, scenario: Scenario) -> dict[str, Any]:
        """Runs one scenario: all that was observed, in a normal form."""
        self.begin(scenario.name)
        scenario.function(self)
        self.settle()
        self.record_surroundings()
        self.mark()
        return self.observed

    def describe(self) -> dict[str, Any]:
        """What a worker that has started looks like from outside."""
        self.begin("start")
        self.command("stats")
        self.command("active_queues")
        self.record("declarations", self.declarations())
        self.record("events", [event["type"] for event in self.events.all() if event["type"] != "worker-heartbeat"])
        self.record("event messages", self.event_messages())
        self.mark()
        return self.observed

    def settle(self) -> None:
        """Until the worker has done with all that was sent before."""
        if not self.worker.running:
            return
        marker = self.id("settled")
        self.send("early", {"n": -1}, id=marker, ignore_result=True, queue=self.setting.queue)
        if self.setting.task_events:
            self.wait_event("task-succeeded", marker)
            # Another process may still be about to tell of its last task. Not every start has an end that is told.
            with contextlib.suppress(NotReady):
                wait_until(self.all_told, 0.5, "each task has ended")
        else:
            self.journal.wait_for("end", 10, id=marker)

    # -- acting

    def gate(self, name: str = "gate") -> str:
        """The path of a file that a job waits for."""
        return str(self.home / f"{self._scenario}-{name}")

    def open(self, name: str = "gate") -> None:
        Path(self.gate(name)).touch()

    def send(self, task: str, job: Mapping[str, Any] | None = None, id: str | None = None, **options: Any) -> str:
        """Sends one task of the project; `job` is its only argument. The task's id."""
        identifier = id or self.id(task)
        arguments = options.pop("args", [dict(job)] if job is not None else [])
        self.app.send_task(f"jobs.{task}", args=arguments, task_id=identifier, **options)
        return identifier

    def publish(
        self,
        task: str,
        job: Mapping[str, Any] | None = None,
        id: str | None = None,
        exchange: str = "",
        routing_key: str | None = None,
        **headers: Any,
    ) -> str:
        """Sends a task as its client would, but for these headers; the client itself is not asked. The task's id."""
        identifier = id or self.id(task)
        body = [[] if job is None else [dict(job)], {}, EMBED]
        publish_raw(
            self.host,
            exchange,
            self.setting.queue if routing_key is None else routing_key,
            {**good_headers(f"jobs.{task}", identifier), "ignore_result": False, **headers},
            json.dumps(body).encode(),
        )
        return identifier

    def signature(self, task: str, *arguments: Any, id: str | None = None, **options: Any) -> Any:
        """A signature of one task of the project."""
        return self.app.signature(f"jobs.{task}", args=arguments).set(task_id=id or self.id(task), **options)

    def hold(self, name: str = "held", task: str = "early", gate: str = "gate", **options: Any) -> str:
        """Sends a task that runs until `open(gate)`, and waits until it runs."""
        identifier = self.send(task, {"n": 0, "until": self.gate(gate)}, id=self.id(name), **options)
        self.wait_started(identifier)
        return identifier

    def command(
        self, method: str, *, to: Any = (NODE,), label: str | None = None, record: bool = True, **arguments: Any
    ) -> Any:
        """One remote-control command, and the node's answer, which is recorded."""
        replies = self.broadcast(method, arguments, destination=None if to is None else list(to), limit=1)
        answer: Any = replies[0].get(NODE, replies[0]) if replies else "no reply"
        if record:
            self.record(label or self._call(method, arguments), answer)
        return answer

    def broadcast(
        self, method: str, arguments: Mapping[str, Any] | None = None, timeout: float = 5, **options: Any
    ) -> list[dict[str, Any]]:
        """The replies of all nodes that reply in time, or of the first `limit`."""
        replies: list[dict[str, Any]] = self.app.control.broadcast(
            method, arguments=dict(arguments or {}), reply=True, timeout=timeout, **options
        )
        return replies or []

    def cast(self, method: str, **arguments: Any) -> None:
        """A command that wants no answer."""
        self.app.control.broadcast(method, arguments=arguments, destination=[NODE])

    def request(self, body: Any, wait: float = 5, replies: int = 1, **properties: Any) -> list[dict[str, Any]]:
        """A control message of any shape, as JSON unless it is bytes, and the replies as they came over the wire."""
        found: list[dict[str, Any]] = []

        def receive(message: amqp.Message) -> None:
            found.append({"properties": dict(message.properties), "body": json.loads(message.body)})

        with self.host.connect() as connection:
            channel = connection.channel()
            channel.exchange_declare("reply.celery.pidbox", "direct", durable=False, auto_delete=False)
            queue = channel.queue_declare("", exclusive=True).queue
            channel.queue_bind(queue, "reply.celery.pidbox", "compat-reply")
            channel.basic_consume(queue, no_ack=True, callback=receive)
            reply_to = {"exchange": "reply.celery.pidbox", "routing_key": "compat-reply"}
            if isinstance(body, dict):
                body = {"reply_to": reply_to, "ticket": "compat-ticket", **body}
            message = amqp.Message(
                body if isinstance(body, bytes) else json.dumps(body).encode(),
                **{
                    "content_type": "application/json",
                    "content_encoding": "utf-8",
                    "application_headers": {"clock": 1, "expires": 0.0},
                    **properties,
                },
            )
            channel.basic_publish(message, exchange="celery.pidbox", routing_key="")
            deadline = time.monotonic() + wait
            while len(found) < replies and (rest := deadline - time.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=rest)
        return found

    @staticmethod
    def _call(method: str, arguments: Mapping[str, Any]) -> str:
        return f"{method}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"

    def stop(self, how: Callable[[], int]) -> int:
        """Ends the worker and records its exit status."""
        status = how()
        self.record("exit status", status)
        return status

    # -- awaiting

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 10) -> Any:
        return wait_until(condition, seconds, what)

    def wait_event(self, kind: str, id: str | None = None, times: int = 1, seconds: float = 10) -> None:
        """Until the worker has sent such an event (of this task) in this scenario."""
        self.events.wait(
            lambda event: event["type"] == kind and (id is None or event.get("uuid") == id),
            f"{kind} of {id}",
            self._event_mark,
            times,
            seconds,
        )

    def wait_started(self, id: str, times: int = 1) -> None:
        """Until the task's code runs."""
        self.journal.wait_for("start", 10, times, id=id)

    def wait_result(
        self, id: str, states: Sequence[str] = ("SUCCESS", "FAILURE", "REVOKED", "REJECTED", "IGNORED")
    ) -> None:
        """Until the backend holds a result in one of these states."""
        wait_until(lambda: self.result(id).get("status") in states, 10, f"a result of {id} in {states}")

    def wait_dead(self, times: int = 1) -> None:
        """Until so many messages are dead-lettered."""
        wait_until(lambda: (self.host.counts(DEAD) or (0, 0))[0] >= times, 10, f"{times} dead-lettered message(s)")

    def wait_reply(self, method: str, condition: Callable[[Any], bool], **arguments: Any) -> Any:
        """Until the answer to a command is as wanted; the answer."""

        def answer() -> Any:
            reply = self.command(method, record=False, **arguments)
            return [reply] if condition(reply) else None

        return wait_until(answer, 10, f"{method} answers as expected")[0]

    def wait_until_known(self, method: str, id: str, times: int = 1) -> None:
        """Until `inspect METHOD` tells of this task."""
        wait_until(
            lambda: json.dumps(self.command(method, record=False)).count(f'"{id}"') >= times, 10, f"{id} is {method}"
        )
