"""Probes and metrics over HTTP: what an orchestrator and Prometheus see of an agent in each of its states."""

from __future__ import annotations

import json
import signal
import socket
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from armada_testing.agent import Agent
from armada_testing.processes import wait_until
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.worker import Worker, client

from .conftest import Run
from .probes import Probes

pytestmark = pytest.mark.usefixtures("ours")


def start(run: Run, probes: Probes, **options: Any) -> Agent:
    return run.agent(environment=probes.environment, **options)


def test_an_agent_that_works(run: Run) -> None:
    probes = Probes()
    agent = start(run, probes)
    wait_until(lambda: probes.status("readyz") == 200, 20, "the agent is ready")
    assert (probes.status("livez"), probes.status("startupz")) == (200, 200)
    state = json.loads(probes.get("/readyz")[1])
    assert state["queues"] == [run.run_id]
    assert state["node"] == agent.node
    for number in range(1, 4):
        run.dispatch(number)
    run.dispatch(4, fail="on purpose")
    run.wait_for("end", 3)
    run.wait_empty()

    metrics = probes.metrics()
    tasks = metrics["armada_agent_tasks_total"]
    assert tasks == {("tasks.consume_message", "succeeded"): 3, ("tasks.consume_message", "failed"): 1}
    assert metrics["armada_agent_task_runtime_seconds_count"] == {("tasks.consume_message",): 3}
    assert metrics["armada_agent_messages_received_total"] == {(): 4}
    assert metrics["armada_agent_consuming"] == {(): 1}
    assert metrics["armada_agent_python_workers"][("idle",)] == 1
    assert set(metrics["armada_agent_jobs"].values()) == {0}
    assert metrics["armada_agent_prefetch_count"] == {(): 1}
    assert metrics["process_resident_memory_bytes"][()] > 1_000_000
    assert "guest" not in probes.get("/metrics")[1] + probes.get("/readyz")[1]
    assert agent.warm() == 0


def test_the_wait_for_a_process_is_measured(run: Run) -> None:
    probes = Probes()
    agent = start(run, probes, prefetch=2)
    run.dispatch_held(1)
    run.wait_for("start", 1)
    run.dispatch(2)
    wait_until(lambda: probes.metrics()["armada_agent_jobs"][("reserved",)] == 1, 20, "the second job waits")
    seen = time.monotonic()
    assert probes.metrics()["armada_agent_job_wait_seconds_count"] == {(): 0}
    waited = time.monotonic() - seen
    run.open_gate()
    run.wait_for("end", 2)
    run.wait_empty()
    metrics = probes.metrics()
    assert metrics["armada_agent_job_wait_seconds_count"] == {(): 2}
    assert metrics["armada_agent_job_wait_seconds_bucket"][("+Inf",)] == 2
    assert metrics["armada_agent_job_wait_seconds_sum"][()] >= waited
    assert agent.warm() == 0


def test_a_draining_agent_is_alive_and_not_ready(run: Run) -> None:
    probes = Probes()
    agent = start(run, probes, prefetch=2)
    run.dispatch_held(1)
    run.wait_for("start", 1)
    assert probes.metrics()["armada_agent_jobs"][("running",)] == 1
    assert probes.command("ready")[0] == 0
    agent.process.send(signal.SIGTERM)
    wait_until(lambda: probes.status("readyz") == 503, 20, "the agent is not ready any more")
    assert (probes.status("livez"), probes.status("startupz")) == (200, 200)
    assert "shutting down" in probes.reasons("readyz")[0]
    assert probes.metrics()["armada_agent_consuming"] == {(): 0}
    assert probes.command("live")[0] == 0
    status, text = probes.command("ready")
    assert status == 1
    assert "shutting down" in text
    run.open_gate()
    assert agent.process.wait(20) == 0
    assert run.times("end") == {1: 1}


def test_an_agent_without_its_broker(fragile_run: Run) -> None:
    run, probes = fragile_run, Probes()
    agent = start(run, probes)
    wait_until(lambda: probes.status("readyz") == 200, 20, "the agent is ready")
    run.broker.stop()
    wait_until(lambda: probes.status("readyz") == 503, 20, "the agent is not ready without its broker")
    assert (probes.status("livez"), probes.status("startupz")) == (200, 200)
    assert probes.reasons("readyz") == ["there is no session with the broker"]
    run.broker.start()
    wait_until(lambda: probes.status("readyz") == 200, 60, "the agent is ready again")
    assert probes.metrics()["armada_agent_broker_connections_lost_total"][()] >= 1
    assert agent.warm() == 0


def test_an_agent_that_waits_for_its_project(run: Run) -> None:
    probes = Probes()
    agent = start(run, probes, pod_index=7, ready=False)  # Nothing is defined for this index.
    wait_until(lambda: probes.status("livez") == 200, 20, "the agent answers")
    assert (probes.status("startupz"), probes.status("readyz")) == (503, 503)
    assert "the project is not loaded" in probes.reasons("startupz")
    assert probes.command("startup")[0] == 1
    assert agent.warm() == 0


def test_a_port_that_is_taken_is_told_at_once(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        environment = {"AGENT_HTTP_PORT": str(port), "AGENT_HTTP_HOST": "127.0.0.1"}
        agent = run.agent(ready=False, environment=environment)
        assert agent.process.wait(20) == 78
    assert f"AGENT_HTTP_PORT: found {port}, expected a port that this process may listen on" in agent.output()


def test_a_worker_for_any_project(broker: RabbitMQ, tmp_path: Path) -> None:
    probes = Probes()
    queue = f"probes-{uuid.uuid4().hex}"
    with Worker(
        broker, log=tmp_path / "worker.log", queue=queue, options=["-Q", queue], environment=probes.environment
    ) as worker:
        wait_until(lambda: probes.status("readyz") == 200, 30, "the worker is ready")
        assert json.loads(probes.get("/readyz")[1])["queues"] == [queue]
        assert ("jobs.late", "revoked") not in probes.metrics().get("armada_agent_tasks_total", {})
        client(broker).send_task("jobs.late", args=[{"n": 1}], queue=queue, expires=-1)
        wait_until(
            lambda: probes.metrics().get("armada_agent_tasks_total") == {("jobs.late", "revoked"): 1},
            20,
            "the expired task is counted",
        )
        started = probes.metrics()["process_start_time_seconds"][()]
        worker.process.send(signal.SIGHUP)

        def is_new() -> bool:
            return probes.status("readyz") == 200 and probes.metrics()["process_start_time_seconds"][()] > started

        wait_until(is_new, 30, "the worker has started anew, on the same port")
        assert worker.warm() == 0


def test_the_probe_command_alone() -> None:
    probes = Probes()
    assert probes.command("live")[0] == 1
    assert probes.command("whatever")[0] == 64
    probes.environment = {}
    status, text = probes.command()
    assert status == 78
    assert "AGENT_HTTP_PORT: found nothing" in text
