"""What is seen of one worker in one setting, in a form in which two workers can be compared."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import socket
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis

from ..processes import NotReady, wait_until
from ..rabbitmq import VirtualHost
from ..worker import Journal, Worker
from .normal import Normaliser, kind_of, ordered
from .observing import QUEUE, Events
from .table import Setting

HOST = socket.gethostname()
NODE = f"compat@{HOST}"
# Tells a rejection from an acknowledgement: what is rejected goes to another queue.
DEAD = "dead"
DEAD_LETTERED = f"^(?!{DEAD}$|{QUEUE}$|celeryev|celery_delayed|.*pidbox)"
_RESULT = "celery-task-meta-"
_ENDS = ("task-succeeded", "task-failed", "task-retried", "task-revoked", "task-rejected", "task-cancelled")


class Recording:
    """Where things are seen (events, journal, result backend, the broker's books), and what a scenario noted."""

    # Given by whoever starts them.
    worker: Worker
    events: Events

    def __init__(
        self, setting: Setting, host: VirtualHost, store: redis.Redis, home: Path, hidden: Mapping[str, str]
    ) -> None:
        """`hidden` are texts that differ from run to run, and what is noted in their place."""
        self.setting = setting
        self.host = host
        self.redis = store
        self.journal = Journal(home / "journal")
        self.normal = Normaliser({**hidden, f"@{HOST}": "@<host>"})
        self.observed: dict[str, Any] = {}
        self._scenario = ""
        self._event_mark = 0
        self._journal_mark = 0
        self._signal_mark = 0
        self._seen_results: set[str] = set()

    def begin(self, scenario: str) -> None:
        self._scenario = scenario
        self.observed = {}

    def mark(self) -> None:
        """What comes from now on belongs to the next scenario."""
        self._event_mark = self.events.mark()
        self._journal_mark = len(self.journal.entries())
        self._signal_mark = len(self.journal.entries("signal"))

    def id(self, name: str) -> str:
        """A task's id: readable, and of this scenario alone."""
        return f"{self._scenario}:{name}"

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

    def record_surroundings(self) -> None:
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

    def all_told(self) -> bool:
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
