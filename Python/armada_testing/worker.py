"""One Celery worker that runs a project from a folder: `armada-agent worker`, or a stock `celery worker`."""

from __future__ import annotations

import json
import os
import socket
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from celery import Celery

from . import REPOSITORY
from .agent import Kind, agent_command, default_kind, pod_environment
from .processes import wait_until
from .program import Program
from .rabbitmq import Broker

# The project that the tests and scripts/compat share; its module says what its tasks do.
PROJECT = REPOSITORY / "Tests" / "EndToEnd" / "project"
MODULE = "jobs"


def worker_command(kind: Kind, module: str, general: Sequence[str], options: Sequence[str]) -> list[str]:
    """The command line of one kind. Celery's own takes the `general` options before the word `worker`."""
    if kind == "celery":
        # The script, since a restart by SIGHUP runs what was run.
        script = str(Path(sys.executable).with_name("celery"))
        return [sys.executable, script, "-A", module, *general, "worker", *options]
    return [*agent_command(kind), "worker", "-A", module, *general, *options]


class Worker(Program):
    """`with Worker(broker, log=…) as worker:` starts it; it is not ready before `wait_ready` returns.

    `options` are those of `celery worker` by their own names, `general` those of `celery` itself (`--workdir`, `-b`).
    `settings` are merged into the configuration by the project; `backend` is the URL of its result backend, if any.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        log: Path,
        node: str | None = None,
        queue: str = "celery",
        options: Sequence[str] = (),
        general: Sequence[str] = (),
        backend: str | None = None,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        kind: Kind | None = None,
        folder: Path = PROJECT,
        module: str = MODULE,
        url: str | None = None,
    ) -> None:
        self.kind = kind or default_kind()
        self.node = node or f"{uuid.uuid4().hex[:8]}@{socket.gethostname()}"
        self.queue = queue
        self._broker = broker
        command = worker_command(self.kind, module, general, ["-n", self.node, *options])
        variables = {
            "PROJECT_BROKER": url or broker.url,
            "PROJECT_BACKEND": backend or "",
            "PROJECT_SETTINGS": json.dumps(dict(settings or {})),
            **(environment or {}),
        }
        inherited = {name: value for name, value in pod_environment({}).items() if not name.startswith("CELERY_")}
        super().__init__(command, log, {**inherited, **variables}, folder)

    def wait_ready(self, seconds: float = 30, consumers: int = 1) -> None:
        """Until its queue has this many consumers."""

        def consumed() -> bool:
            counts = self._broker.counts(self.queue)
            return counts is not None and counts[1] >= consumers

        self.process.wait_ready(consumed, seconds, f"the queue {self.queue} has {consumers} consumer(s)")

    def wait_answers(self, client: Celery, seconds: float = 30) -> None:
        """Until the node answers `ping`: its queues are then consumed, and its remote control works."""

        def answers() -> bool:
            replies = client.control.broadcast("ping", destination=[self.node], reply=True, timeout=1, limit=1)
            return bool(replies)

        self.process.wait_ready(answers, seconds, f"{self.node} answers")

    def wait_output(self, text: str, seconds: float = 30) -> None:
        """Until its log holds this text."""
        self.process.wait_ready(lambda: text in self.output(), seconds, f"the log holds {text!r}")

    def wait_ended(self, seconds: float = 30) -> int:
        """The exit status of a worker that ends by itself."""
        return self.process.wait(seconds)


def client(broker: Broker, backend: str | None = None, **settings: Any) -> Celery:
    """A Celery client of the project, which names its tasks and does not import them."""
    app = Celery("client", broker=broker.url, backend=backend or None, set_as_current=False)
    app.conf.update(settings)
    return app


class Journal:
    """What the project's tasks and signal receivers write down, one JSON object a line, wherever they run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def environment(self) -> dict[str, str]:
        return {"PROJECT_JOURNAL": os.fspath(self.path)}

    def entries(self, event: str | None = None, **fields: Any) -> list[dict[str, Any]]:
        """Those of this event, with these fields."""
        if not self.path.exists():
            return []
        # A line without its end is still being written.
        lines = [line for line in self.path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [
            entry
            for entry in entries
            if (event is None or entry["event"] == event)
            and all(entry.get(name) == value for name, value in fields.items())
        ]

    def wait_for(self, event: str, seconds: float = 30, times: int = 1, **fields: Any) -> list[dict[str, Any]]:
        """Until there are so many of them; all of them."""

        def found() -> list[dict[str, Any]] | None:
            entries = self.entries(event, **fields)
            return entries if len(entries) >= times else None

        return wait_until(found, seconds, f"{times} time(s) {event} {fields or ''} in the journal")
