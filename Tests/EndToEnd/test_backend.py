"""What the agent itself writes to the result backend, while the backend is down or hangs."""

from __future__ import annotations

import pytest
import redis

from armada_testing.gate import Gate
from armada_testing.processes import wait_until
from armada_testing.redis_server import Redis

from .conftest import PROJECT_CODE, Run

# What is tried again is tried again by the agent, not by Celery's backend within one attempt.
SETTINGS = """
app.conf.result_backend = {url!r}
app.conf.result_backend_transport_options = {{"retry_policy": {{"max_retries": 0}}}}
"""


@pytest.fixture
def project_code(gate: Gate) -> str:
    return PROJECT_CODE + SETTINGS.format(url=f"redis://127.0.0.1:{gate.port}/0")


def send_unknown(run: Run, number: int) -> list[str]:
    return [run.project.app.send_task("tasks.unknown", queue=run.run_id).id for _ in range(number)]


def is_failure(backend: Redis, identifier: str) -> bool:
    with redis.Redis(host=backend.host, port=backend.port) as client:
        value = client.get(f"celery-task-meta-{identifier}")
    return value is not None and b"NotRegistered" in value


@pytest.mark.usefixtures("ours")
def test_results_are_written_once_the_backend_is_back(run: Run, gate: Gate, backend: Redis) -> None:
    gate.is_open = True
    agent = run.agent()
    backend.stop()
    unknown = send_unknown(run, 3)
    wait_until(lambda: "The result backend fails" in agent.output(), 20, "the agent tells of its backend")
    backend.start()
    for identifier in unknown:
        wait_until(lambda name=identifier: is_failure(backend, name), 30, "the failure is stored")  # type: ignore[misc]
    wait_until(lambda: "takes writes again" in agent.output(), 20, "the agent tells that it is back")
    assert agent.warm() == 0


@pytest.mark.usefixtures("ours")
def test_a_backend_that_hangs_delays_no_job_and_no_answer(run: Run, gate: Gate) -> None:
    agent = run.agent()
    send_unknown(run, 3)
    wait_until(lambda: gate.accepted, 20, "the agent writes to its backend")
    for number in range(20):
        # A task that has a result waits for the backend itself.
        run.project.dispatch({"n": number}, ignore_result=True)
    run.wait_done(range(20), 20)
    run.wait_empty()
    assert run.project.inspect(seconds=5, limit=1).ping() == {agent.node: {"ok": "pong"}}
    # The end waits for what is being written, but not for ever.
    assert agent.warm(30) == 0
