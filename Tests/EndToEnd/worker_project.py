"""A small Celery project in a folder and with a queue of its own, and the workers that run it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from celery import Celery

from armada_testing.agent import agent_command, pod_environment
from armada_testing.processes import Process
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.worker import Journal, Worker, client

# Settings and tasks of every project here; a test appends what it is about.
CODE = """
import json, os, sys, time
from celery import Celery, signals
from celery.utils.log import get_task_logger

app = Celery("proj", broker=os.environ.get("PROJECT_BROKER"))
app.conf.task_default_queue = os.environ["PROJECT_QUEUE"]
log = get_task_logger(__name__)


def note(event, **fields):
    line = json.dumps({"event": event, "pid": os.getpid(), **fields}, default=repr)
    with open(os.environ["PROJECT_JOURNAL"], "a") as journal:
        journal.write(line + "\\n")


@app.task(name="work")
def work(n=0, until=None, say=None):
    note("start", n=n)
    if say:
        print("printed " + say)
        log.info("logged " + say)
    while until and not os.path.exists(until):
        time.sleep(0.005)
    note("end", n=n)
    return n


@app.task(bind=True, name="request")
def request(self):
    note("request", hostname=self.request.hostname, argv=sys.argv, cwd=os.getcwd(), path=sys.path)
"""


class Project:
    """A project in a folder of its own, with a queue of its own."""

    def __init__(self, broker: RabbitMQ, home: Path, resources: ExitStack) -> None:
        self.broker = broker
        self.home = home
        self.folder = home / "project"
        self.folder.mkdir()
        self.queue = f"proj-{uuid.uuid4().hex[:8]}"
        self.journal = Journal(home / "journal")
        self.gate = home / "gate"
        self._workers = 0
        self._resources = resources
        self.write("proj.py", CODE)

    def write(self, name: str, code: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(code)

    def append(self, code: str) -> None:
        self.write("proj.py", CODE + code)

    @property
    def environment(self) -> dict[str, str]:
        return {"PROJECT_QUEUE": self.queue, "PROJECT_BROKER": self.broker.url, **self.journal.environment}

    def worker(
        self,
        *options: str,
        general: Sequence[str] = (),
        module: str = "proj",
        queue: str | None = None,
        node: str | None = None,
        environment: Mapping[str, str] | None = None,
        **keywords: Any,
    ) -> Worker:
        """A worker that is ready."""
        self._workers += 1
        worker = Worker(
            self.broker,
            log=self.home / f"worker-{self._workers}.log",
            node=node,
            queue=queue or self.queue,
            options=options,
            general=general,
            module=module,
            folder=self.folder,
            environment={**self.environment, **(environment or {})},
            **keywords,
        )
        self._resources.enter_context(worker)
        worker.wait_ready()
        return worker

    @property
    def client(self) -> Celery:
        return client(self.broker)

    def send(self, task: str = "work", queue: str | None = None, **arguments: Any) -> str:
        sent = self.client.send_task(task, kwargs=arguments, queue=queue or self.queue)
        return str(sent.id)

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """A worker that is to end by itself: its exit status and output."""
        variables = pod_environment({**self.environment, **(environment or {})})
        command = [*agent_command("agent"), "worker", *arguments]
        with Process(command, self.home / "output", variables, cwd=self.folder) as process:
            return process.wait(30), process.output()
