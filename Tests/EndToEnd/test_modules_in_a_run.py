"""The modules as a project's code uses them, in a run."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import amqp
import pytest

from armada_testing.backend import Answer, Backend, Request
from armada_testing.orchestrator import TASK
from armada_testing.processes import wait_until

from .conftest import Run
from .probes import Probes

PROJECT = """
import asyncio
import multiprocessing
import os
import threading

from armada_agent.sdk import ModuleError
from armada_agent.sdk.jobs import current_job
from celery.exceptions import SoftTimeLimitExceeded
from src.fingerprint_manager import FingerprintManager
from src.monitoring_client import MonitoringClient


def client(job_message):
    return MonitoringClient(job_message["run_id"], agent_message["pod_index"], current_job().id)


def plain(job_message):
    monitor = client(job_message).create_job()
    monitor.record_success_event(FingerprintManager(agent_message["config_fingerprint"]).get_fingerprint())
    asyncio.run(monitor.record_success_event_async("asyncio"))
    thread = threading.Thread(target=monitor.record_success_event, args=("thread",))
    thread.start()
    thread.join()
    process = multiprocessing.get_context("fork").Process(target=monitor.record_success_event, args=("process",))
    process.start()
    process.join()
    pid = os.fork()
    if pid == 0:
        monitor.record_success_event("fork")
        os._exit(0)
    os.waitpid(pid, 0)
    monitor.record_finalsuccess_event("end")


def told(job_message):
    monitor = client(job_message)
    monitor.record_success_event("one").record_success_event("two").record_finalsuccess_event("three")
    open(job_message["file"], "w").close()


def limited(job_message):
    try:
        client(job_message).record_success_event("hang")
    except SoftTimeLimitExceeded:
        client(job_message).record_failed_event("too long")


def launching(job_message):
    job = current_job()
    fields = {"do": "launched", "parent": job.id, "root": job.root_id, "generation": job_message["generation"] + 1}
    if job_message["generation"] < 2:
        fields["do"] = "launching"
    if job_message["generation"] == 0:
        job.launch(fields)
    else:
        asyncio.run(job.launch_async(fields))


def launched(job_message):
    job = current_job()
    client(job_message).record_finalsuccess_event({**job.fields, "id": job.id, "own_root": job.root_id})


def both(job_message):
    message = {"run_id": job_message["run_id"], "text": "é'\\n", "list": [1, 2.5, None, True]}
    queue = job_message["queue"]
    current_job().launch({"text": "é'\\n", "list": [1, 2.5, None, True]}, queue)
    app.send_task("tasks.consume_message", args=[{**message}], queue=queue)


def nowhere(job_message):
    errors = []
    for attempt in (lambda: current_job().launch({}, "no-such-queue"), in_a_thread(current_job)):
        try:
            attempt()
        except ModuleError as error:
            errors.append([error.kind, str(error)])
    client(job_message).record_finalsuccess_event(errors)


def in_a_thread(function):
    def run():
        result = []

        def body():
            try:
                function()
            except BaseException as error:
                result.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        raise result[0]

    return run


@app.task(name="tasks.consume_message", acks_late=True, queue=agent_message["run_id"])
def consume_message(job_message):
    globals()[job_message["do"]](job_message)
"""


@pytest.fixture
def project_code() -> str:
    return PROJECT


@pytest.fixture
def backend_server() -> Iterator[Backend]:
    with Backend() as backend:
        yield backend


@pytest.fixture
def started(run: Run, backend_server: Backend, ours: None) -> Run:
    run.project.define(config_fingerprint={"os": "any"})
    run.agent(environment={"BACKEND_URL": backend_server.url, "FINGERPRINT_PROVIDER_URL": backend_server.url})
    return run


def ended(backend: Backend, number: int = 1) -> list[Any]:
    """The contents of all events, once so many jobs have ended."""
    wait_until(
        lambda: len([r for r in backend.accepted if r.method == "PATCH"]) >= number, 30, f"{number} jobs have ended"
    )
    return [request.json["event_content"] for request in backend.requests if request.path == "/api/events/"]


def test_from_every_place_in_a_job(started: Run, backend_server: Backend) -> None:
    identifier = started.project.dispatch({"do": "plain"})
    assert ended(backend_server) == ["{}", "asyncio", "thread", "process", "fork", "end"]
    assert backend_server.requests[0].json["job_uuid"] == identifier
    assert backend_server.requests[0].json["job_associated_agent"] == "0"
    assert backend_server.requests[-1].json == {"job_uuid": identifier, "job_status": "Success"}
    assert backend_server.requests[1].json == {"os": "any"}


def test_a_soft_time_limit_in_the_middle_of_a_call(started: Run, backend_server: Backend) -> None:
    silent = Event()
    backend_server.answer = lambda request: (
        Answer(500)
        if request.method == "POST" and request.json["event_content"] == "hang" and silent.wait(60)
        else Answer()
    )
    try:
        started.project.dispatch({"do": "limited"}, soft_time_limit=0.5)
        assert ended(backend_server) == ["hang", "too long"]
    finally:
        silent.set()


def test_a_job_starts_jobs(started: Run, backend_server: Backend) -> None:
    identifier = started.project.dispatch({"do": "launching", "generation": 0})
    (last,) = ended(backend_server)
    assert last["run_id"] == started.run_id
    assert last["generation"] == 3
    assert last["root"] == last["own_root"] == identifier
    assert len({last["id"], last["parent"], identifier}) == 3


def test_a_started_job_is_the_message_that_celery_would_send(started: Run, backend_server: Backend) -> None:
    queue = f"{started.run_id}-other"
    with started.project.app.connection_for_write() as connection:
        channel = connection.default_channel
        channel.queue_declare(queue, durable=True, auto_delete=False)
        try:
            identifier = started.project.dispatch({"do": "both", "queue": queue})
            wait_until(lambda: channel.queue_declare(queue, passive=True).message_count == 2, 30, "two messages")
            ours, celerys = (channel.basic_get(queue, no_ack=True) for _ in range(2))
        finally:
            channel.queue_delete(queue)
    assert facts(ours) == facts(celerys)
    assert ours.properties["application_headers"]["task"] == TASK
    assert ours.properties["application_headers"]["parent_id"] == identifier


def facts(message: amqp.Message) -> dict[str, Any]:
    """All of a message but what differs from one to the next."""
    properties = dict(message.properties)
    headers = dict(properties.pop("application_headers"))
    assert properties.pop("correlation_id") == headers.pop("id")
    # Celery's client names a queue for replies, which only the `rpc` result backend reads.
    properties.pop("reply_to")
    body = message.body if isinstance(message.body, str) else message.body.decode()
    info = {name: value for name, value in message.delivery_info.items() if name in ("exchange", "routing_key")}
    return {"properties": properties, "headers": headers, "body": json.loads(body), "info": info}


def test_what_cannot_be_started_is_told(started: Run, backend_server: Backend) -> None:
    started.project.dispatch({"do": "nowhere"})
    ((refused, no_job),) = ended(backend_server)
    assert refused[0] == "refused"
    assert "no queue 'no-such-queue' takes it" in refused[1]
    assert no_job[0] == "no_job"
    assert "no job runs in this thread" in no_job[1]


class TestOutbox:
    """`AGENT_MONITORING=outbox`."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "outbox"

    def environment(self, backend: Backend, folder: Path) -> dict[str, str]:
        return {
            "AGENT_MONITORING": "outbox",
            "AGENT_MONITORING_OUTBOX": str(folder),
            "BACKEND_URL": backend.url,
            "FINGERPRINT_PROVIDER_URL": backend.url,
        }

    def test_a_call_does_not_wait_for_the_backend_and_the_acknowledgement_does(
        self, run: Run, ours: None, backend_server: Backend, folder: Path
    ) -> None:
        up = Event()
        backend_server.answer = lambda _: Answer() if up.is_set() else Answer(503)
        probes = Probes()
        agent = run.agent(environment={**self.environment(backend_server, folder), **probes.environment})
        journal = run.home / "ran"
        run.project.dispatch({"do": "told", "file": str(journal)})
        wait_until(journal.exists, 30, "the job's code has ended")
        # Three events, and the job's status.
        assert probes.metrics()["armada_agent_outbox_waiting"] == {(): 4}
        # All calls have returned, none of them has arrived, and so the job is not acknowledged yet.
        assert run.broker.depths(run.run_id) == (0, 1)
        # A shutdown waits for it, too.
        agent.process.send(signal.SIGTERM)
        wait_until(lambda: "shutting down" in agent.output(), 30, "the shutdown has begun")
        assert agent.process.running
        up.set()
        assert agent.process.wait(30) == 0
        assert run.broker.depths(run.run_id) == (0, 0)
        ended(backend_server)
        assert [r.json["event_content"] for r in told(backend_server)] == ["one", "two", "three"]

    def test_an_agent_that_is_killed_loses_no_event(
        self, run: Run, ours: None, backend_server: Backend, folder: Path
    ) -> None:
        up = Event()
        backend_server.answer = lambda _: Answer() if up.is_set() else Answer(cuts=True)
        agent = run.agent(environment=self.environment(backend_server, folder))
        journal = run.home / "ran"
        run.project.dispatch({"do": "told", "file": str(journal)})
        wait_until(journal.exists, 30, "the job's code has ended")
        agent.process.kill()
        up.set()
        run.agent(environment=self.environment(backend_server, folder))
        # The job was not acknowledged, so it is run again, after the events of its first run.
        run.wait_empty()
        ended(backend_server, 2)
        contents = [r.json["event_content"] for r in told(backend_server)]
        assert contents == ["one", "two", "three"] * 2

    def test_what_the_backend_refuses_is_kept(
        self, run: Run, ours: None, backend_server: Backend, folder: Path
    ) -> None:
        backend_server.answer = lambda request: (
            Answer(422, b"no") if request.json.get("event_content") == "two" else Answer()
        )
        probes = Probes()
        agent = run.agent(environment={**self.environment(backend_server, folder), **probes.environment})
        run.project.dispatch({"do": "told", "file": str(run.home / "ran")})
        ended(backend_server)
        run.wait_empty()
        metrics = probes.metrics()
        assert metrics["armada_agent_outbox_waiting"] == {(): 0}
        assert metrics["armada_agent_outbox_delivered_total"] == {(): 3}
        assert metrics["armada_agent_outbox_refused_total"] == {(): 1}
        assert [r.json["event_content"] for r in told(backend_server)] == ["one", "three"]
        (line,) = (folder / f"{run.run_id}-0" / "refused").read_text().splitlines()
        assert json.loads(line)["body"]["event_content"] == "two"
        assert "HTTP 422" in json.loads(line)["reason"]
        assert "the backend refuses an event for good" in agent.output()


def told(backend: Backend) -> list[Request]:
    """The events that the backend has taken on, in the order of their first arrival."""
    taken: dict[str, Request] = {}
    for request in backend.accepted:
        if request.path == "/api/events/":
            taken.setdefault(request.json["event_uuid"], request)
    return list(taken.values())
