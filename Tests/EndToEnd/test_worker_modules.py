"""The built-in modules under `armada-agent worker -A`: served by the worker itself, as in a pod."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from armada_testing.backend import Answer, Backend
from armada_testing.processes import wait_until

from .probes import Probes
from .worker_project import Project

pytestmark = pytest.mark.usefixtures("ours")

MODULES = """
from armada_agent import connector
from armada_agent.sdk import ModuleError
from armada_agent.sdk.jobs import current_job
from src.monitoring_client import MonitoringClient


@app.task(name="tell", acks_late=True)
def tell(content):
    MonitoringClient("run", 0, current_job().id).record_success_event(content)
    note("told", content=content, connector=connector.descriptor)


@app.task(name="start")
def start(fields):
    if fields["generation"] == 0:
        current_job().launch({"generation": 1})
    note("started", generation=fields["generation"], parent=current_job().id != current_job().root_id)
"""


@pytest.fixture
def backend_server() -> Iterator[Backend]:
    with Backend() as backend:
        yield backend


def events(backend: Backend) -> list[object]:
    return [request.json["event_content"] for request in backend.accepted if request.path == "/api/events/"]


def test_a_job_reaches_the_modules_of_its_worker(project: Project, backend_server: Backend) -> None:
    project.append(MODULES)
    worker = project.worker("-c2", environment={"BACKEND_URL": backend_server.url})
    identifier = project.send("tell", content="one")
    (told,) = project.journal.wait_for("told")
    assert events(backend_server) == ["one"]
    assert backend_server.requests[0].json["job_uuid"] == identifier
    # The worker's own, not that of a program that the SDK has started for itself.
    assert told["connector"] == 5
    assert worker.warm() == 0


def test_a_job_starts_another(project: Project) -> None:
    project.append(MODULES)
    worker = project.worker("-c1")
    project.send("start", fields={"generation": 0})
    project.journal.wait_for("started", generation=1, parent=True)
    assert worker.warm() == 0


def test_an_outbox_under_the_name_of_the_node(project: Project, backend_server: Backend) -> None:
    backend_server.answer = lambda _: Answer(503)
    project.append(MODULES)
    probes = Probes()
    folder = project.home / "outbox"
    environment = {
        "BACKEND_URL": backend_server.url,
        "AGENT_MONITORING": "outbox",
        "AGENT_MONITORING_OUTBOX": str(folder),
        **probes.environment,
    }
    worker = project.worker("-c1", environment=environment)
    project.send("tell", content="one")
    project.journal.wait_for("told")
    assert probes.metrics()["armada_agent_outbox_waiting"] == {(): 1}
    assert [path.name for path in folder.iterdir()] == [worker.node]
    # The job is acknowledged once its event is delivered.
    assert project.broker.depths(project.queue) == (0, 1)
    backend_server.answer = lambda _: Answer()
    wait_until(lambda: events(backend_server) == ["one"], 30, "the event is delivered")
    wait_until(lambda: project.broker.depths(project.queue) == (0, 0), 30, "the job is acknowledged")
    assert worker.warm() == 0


def test_a_variable_of_another_meaning_keeps_no_project_from_starting(project: Project) -> None:
    project.append(MODULES)
    worker = project.worker("-c1", "-lINFO", environment={"BACKEND_URL": "redis://localhost"})
    project.send(n=1)
    project.journal.wait_for("end", n=1)
    assert "the built-in modules are not served" in worker.output()
    assert worker.warm() == 0
