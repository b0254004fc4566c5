"""One worker of one kind in one setting: what scenarios act with, and what is recorded around them."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import socket
import time
import uuid
from collections import Counter
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
from ..worker import Journal, Worker, client
from .normal import Normaliser, kind_of, ordered
from .observing import QUEUE, Events
from .table import Scenario, Setting

HOST = socket.gethostname()
NODE = f"compat@{HOST}"
# Tells a rejection from an acknowledgement: what is rejected goes to another queue.
DEAD = "dead"
DEAD_LETTERED = f"^(?!{DEAD}$|{QUEUE}$|celeryev|celery_delayed|.*pidbox)"
_RESULT = "celery-task-meta-"
_ENDS = ("task-succeeded", "task-failed", "task-retried", "task-revoked", "task-rejected", "task-cancelled")


def host_name(setting: str, kind: Kind, suffix: str) -> str:
    """The virtual host of one side of a setting."""
    return f"{re.sub('[^a-z0-9]+', '-', setting)}-{kind}{suffix}"


class Session:
    """`with Session(…) as session:` prepares the servers; `start` starts the worker."""

    def __init__(
        self, setting: Setting, kind: Kind, broker: RabbitMQ, store: Redis, database: int, home: Path, suffix: str = ""
    ) -> None:
        self.setting = setting
        self.kind = kind
        self.home = home
        self.broker = broker
        self.node = NODE
        self.host = VirtualHost(broker, host_name(setting.name, kind, suffix))
        self.redis = redis.Redis(host=store.host, port=store.port, db=database)
        self.backend = {
            "redis": f"redis://{store.host}:{store.port}/{database}",
            "rpc": "rpc://",
            "database": f"db+sqlite:///{home}/results.sqlite",
            None: None,
        }[setting.backend]
        self.app = self.new_client()
        self.journal = Journal(home / "journal")
        self.worker = self.new_worker()
        self.observed: dict[str, Any] = {}
        self.normal = Normaliser(
            {
                str(home): "<home>",
                self.backend or "": "<backend>",
                self.host.name: "<vhost>",
                str(broker.port): "<port>",
                str(store.port): "<redis port>",
                f"@{HOST}": "@<host>",
            }
        )
        self._resources = contextlib.ExitStack()
        self._scenario = ""
        self._event_mark = 0
        self._journal_mark = 0
        self._signal_mark = 0
        self._seen_results: set[str] = set()

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
        self._scenario = scenario.name
        self.observed = {}
        scenario.function(self)
        self.settle()
        self._record_surroundings()
        self._mark()
        return self.observed

    def describe(self) -> dict[str, Any]:
        """What a worker that has started looks like from outside."""
        self.observed = {}
        self._scenario = "start"
        self.command("stats")
        self.command("active_queues")
        self.record("declarations", self.declarations())
        self.record("events", [event["type"] for event in self.events.all() if event["type"] != "worker-heartbeat"])
        self.record("event messages", self.event_messages())
        self._mark()
        return self.observed

    def _mark(self) -> None:
        """What comes from now on belongs to the next scenario."""
        self._event_mark = self.events.mark()
        self._journal_mark = len(self.journal.entries())
        self._signal_mark = len(self.journal.entries("signal"))

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
                wait_until(self._all_told, 0.5, "each task has ended")
        else:
            self.journal.wait_for("end", 10, id=marker)

    # -- acting

    def id(self, name: str) -> str:
        """A task's id: readable, and of this scenario alone."""
        return f"{self._scenario}:{name}"

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

    # -- observing

    def record(self, label: str, value: Any) -> None:
        """Notes what was seen; a label that is taken is numbered."""
        taken = sum(1 for name in self.observed if name == label or name.startswith(f"{label} #"))
        self.observed[label if not taken else f"{label} #{taken + 1}"] = self.normal(value)

    def result(self, id: str) -> dict[str, Any]:
        """What Redis holds of a task; empty when it holds nothing."""
        value = self.redis.get(_RESULT + id)
        if not isinstance(value, bytes):
            return {}
        stored: dict[str, Any] = pickle.loads(value) if value.startswith(b"\x80") else json.loads(value)
        return stored

    def dead(self) -> list[dict[str, Any]]:
        """Takes the dead-lettered messages: whose, and why."""
        found = []
        with self.host.connect() as connection:
            channel = connection.channel()
            while (message := channel.basic_get(DEAD, no_ack=True)) is not None:
                headers = message.headers
                reasons = [(death["reason"], death["queue"]) for death in headers.get("x-death", [])]
                found.append({"id": headers.get("id"), "task": headers.get("task"), "reasons": reasons})
        return found

    def left(self, *queues: str) -> dict[str, Any]:
        """Messages that are ready on queues, once the worker is gone."""
        return {queue: (self.host.counts(queue) or ("no queue",))[0] for queue in queues or (self.setting.queue,)}

    def depths(self, *queues: str) -> dict[str, Any]:
        """Ready and unacknowledged messages of queues."""
        return {
            row["name"]: {"ready": row["ready"], "unacknowledged": row["unacknowledged"]}
            for row in self.host.declared()["queues"]
            if row["name"] in (queues or (self.setting.queue,))
        }

    def declarations(self) -> dict[str, Any]:
        """Queues, exchanges and bindings of the virtual host, but for the listener's own and the client's replies."""

        def ours(name: str) -> bool:
            return not name.startswith("amq.") and ".reply.celery.pidbox" not in name and name not in ("", DEAD, QUEUE)

        declared = self.host.declared()
        counts = ("ready", "unacknowledged")
        return {
            "queues": {
                row["name"]: {key: value for key, value in row.items() if key not in counts}
                for row in declared["queues"]
                if ours(row["name"])
            },
            "exchanges": {row["name"]: row for row in declared["exchanges"] if ours(row["name"])},
            "bindings": {
                f"{row['source']} to {row['destination']} by {row['routing_key']!r}": row["arguments"]
                for row in declared["bindings"]
                if ours(row["source"]) and ours(row["destination"])
            },
        }

    def log_lines(self, pattern: str) -> list[str]:
        """The lines of the worker's log that hold this, without what comes before it."""
        lines = (re.search(f"({pattern}).*", line) for line in self.worker.output().splitlines())
        return [self.normal.text(match[0]) for match in lines if match]

    def signals(self, *names: str) -> list[Any]:
        """The signals of these names that receivers got in this scenario, in an order of their own."""
        return ordered(
            [
                {"name": entry["name"], "fields": entry["fields"]}
                for entry in self.journal.entries("signal")[self._signal_mark :]
                if entry["name"] in names
            ]
        )

    def stop(self, how: Callable[[], int]) -> int:
        """Ends the worker and records its exit status."""
        status = how()
        self.record("exit status", status)
        return status

    def event_messages(self) -> list[Any]:
        """How the events of this scenario were published: each way once."""
        ways = {}
        for message in self.events.messages(self._event_mark):
            properties = {key: value for key, value in message.properties.items() if key != "timestamp"}
            way = self.normal(
                {"routing key": message.routing_key, "is a list": message.is_list, "properties": properties}
            )
            ways[json.dumps(way, sort_keys=True)] = way
        return [ways[key] for key in sorted(ways) if "heartbeat" not in key]

    def _record_surroundings(self) -> None:
        self._await_results()
        events: dict[str, list[Any]] = {}
        others: list[Any] = []
        for event in self.events.all(self._event_mark):
            identifier = event.get("uuid")
            # What a neighbour tells, and when a vote is told, is for the scenario to look at.
            if identifier == self.id("settled") or event["type"] in (
                "worker-heartbeat",
                "worker-elect",
                "worker-elect-ack",
            ):
                continue
            if event["hostname"] != NODE:
                continue
            (others if identifier is None else events.setdefault(str(identifier), [])).append(self.normal(event))
        if events:
            self.observed["events of tasks"] = {name: _of_tries(found) for name, found in _by_name(events).items()}
        if others:
            self.observed["events"] = others
        self.observed["results"] = self._new_results()
        entries = [
            {key: kind_of(value) if key in ("pid", "time") else value for key, value in entry.items()}
            for entry in self.journal.entries()[self._journal_mark :]
            if entry.get("id") != self.id("settled") and entry["event"] != "signal"
        ]
        if entries:
            self.observed["journal"] = ordered(self.normal(entries))
        if dead := self.dead():
            self.observed["dead-lettered"] = ordered(self.normal(dead))

    def _all_told(self) -> bool:
        balance: Counter[str] = Counter()
        for event in self.events.all(self._event_mark):
            if event["type"] == "task-started":
                balance[event["uuid"]] += 1
            elif event["type"] in _ENDS:
                balance[event["uuid"]] -= 1
        return all(count <= 0 for count in balance.values())

    def _await_results(self) -> None:
        """What a worker's parent writes may follow the event that tells of it."""
        if self.setting.backend != "redis":
            return
        events = self.events.all(self._event_mark)
        silent = {event["uuid"] for event in events if event.get("name") == "jobs.resultless"}
        ended = {event["uuid"] for event in events if event["type"] in ("task-failed", "task-revoked")} - silent
        # Only the write that goes with the event knows of the request, and so of children.
        with contextlib.suppress(NotReady):
            wait_until(lambda: all(self.result(id).get("children") == [] for id in ended), 1, "all is stored")

    def _new_results(self) -> dict[str, Any]:
        if self.setting.backend != "redis":
            return {}
        found: dict[str, list[Any]] = {}
        for key in self.redis.scan_iter(f"{_RESULT}*", count=1000):
            identifier = key.decode().removeprefix(_RESULT)
            if identifier in self._seen_results:
                continue
            self._seen_results.add(identifier)
            found[identifier] = [self.normal(self.result(identifier))]
        return _by_name(found)


def _by_name(found: Mapping[str, list[Any]]) -> dict[str, Any]:
    """By the identifiers that scenarios have chosen; the others together, since they differ from run to run."""
    named = {key: found[key] for key in sorted(found) if not _is_uuid(key)}
    others = [found[key] for key in found if _is_uuid(key)]
    return {**named, "others": ordered(others)} if others else named


def _of_tries(events: list[Any]) -> Any:
    """Of a task that came more than once, what was received apart: it may overtake the end of the try before."""
    received = [event for event in events if isinstance(event, dict) and event["type"] == "task-received"]
    if len(received) < 2:
        return events
    return {"received": received, "others": [event for event in events if event not in received]}


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
