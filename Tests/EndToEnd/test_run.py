"""A run from start to end, and how jobs are taken, acknowledged, retried and failed."""

from __future__ import annotations

import pytest

from armada_testing.processes import wait_until

from .conftest import Run


def test_a_run_from_start_to_end(run: Run) -> None:
    """What the orchestrator and `celery inspect` ask is answered; the run ends with exit status 0."""
    agent = run.agent(prefetch=2)
    held = run.dispatch_held(1)
    waiting = run.dispatch(2)
    run.wait_for("start", 1)
    inspect = run.project.inspect(seconds=5, destination=[agent.node], limit=1)

    assert inspect.ping() == {agent.node: {"ok": "pong"}}

    (active,) = inspect.active()[agent.node]
    assert active["id"] == held
    assert active["name"] == "tasks.consume_message"
    assert active["args"] == [{"run_id": run.run_id, "n": 1, "until": str(run.gate)}]
    assert active["kwargs"] == {}
    assert active["hostname"] == agent.node
    assert active["acknowledged"] is False
    assert active["delivery_info"]["routing_key"] == run.run_id
    assert active["delivery_info"]["redelivered"] is False
    assert active["worker_pid"] == run.steps("start")[0].pid
    assert active["time_start"] == pytest.approx(run.steps("start")[0].time, abs=5)

    def reserved() -> list[str]:
        return [info["id"] for info in inspect.reserved()[agent.node]]

    wait_until(lambda: reserved() == [waiting], 10, "the second job is reserved")

    (queue,) = inspect.active_queues()[agent.node]
    assert queue["name"] == queue["routing_key"] == queue["exchange"]["name"] == run.run_id
    assert queue["durable"] is True
    assert queue["exchange"]["type"] == "direct"
    assert run.project.nodes() == [agent.node]

    assert set(inspect.registered()[agent.node]) == {"tasks.consume_message", "tasks.early"}

    stats = inspect.stats()[agent.node]
    assert stats["pid"] == agent.pid
    assert stats["prefetch_count"] == 2
    assert stats["pool"]["max-concurrency"] == 1
    assert stats["pool"]["processes"] == [run.steps("start")[0].pid]
    assert stats["broker"]["port"] == run.broker.port

    run.open_gate()
    run.wait_done(range(1, 3), 30)
    assert inspect.stats()[agent.node]["total"] == {"tasks.consume_message": 2}
    assert run.project.end(60) == [agent.node]
    assert agent.process.wait(30) == 0
    assert len(run.steps("init")) == len(run.steps("shutdown")) == 1
    assert run.broker.counts(run.run_id) == (0, 0)


@pytest.mark.parametrize("prefetch", [1, 4])
def test_prefetch_bounds_what_is_taken(run: Run, prefetch: int) -> None:
    for number in range(6):
        run.dispatch_held(number)
    run.agent(prefetch=prefetch)
    run.wait_for("start", 0)
    wait_until(lambda: run.broker.depths(run.run_id)[1] >= prefetch, 20, "as many as allowed are taken", interval=0.2)
    assert run.broker.depths(run.run_id) == (6 - prefetch, prefetch)
    assert len(run.steps("start")) == 1
    run.open_gate()
    run.wait_done(range(6), 30)
    run.wait_empty()


def test_two_processes_run_two_jobs(run: Run) -> None:
    run.agent(concurrency=2)
    run.dispatch_held(1)
    run.dispatch_held(2)
    run.wait_for("start", 1)
    run.wait_for("start", 2)
    assert len({step.pid for step in run.steps("start")}) == 2
    run.open_gate()
    run.wait_done(range(1, 3), 30)


def test_a_late_ack_comes_after_the_job(run: Run) -> None:
    run.agent()
    run.dispatch_held(1)
    run.wait_for("start", 1)
    assert run.broker.depths(run.run_id) == (0, 1)
    run.open_gate()
    run.wait_for("end", 1)
    run.wait_empty()


def test_an_early_ack_comes_before_the_end(run: Run) -> None:
    run.agent()
    run.project.app.send_task("tasks.early", args=[{"n": 1, "until": str(run.gate)}], queue=run.run_id)
    run.wait_for("start", 1)
    run.wait_empty()
    assert not run.steps("end")
    run.open_gate()
    run.wait_for("end", 1)


def test_a_retry_runs_again_after_its_countdown(run: Run) -> None:
    run.agent()
    run.dispatch(1, retry_in=1)
    run.wait_for("end", 1)
    (first,), (again,) = run.steps("retry"), run.steps("start")
    assert again.time - first.time >= 1
    run.wait_empty()


def test_a_failure_is_acknowledged_and_the_next_job_runs(run: Run) -> None:
    agent = run.agent()
    run.dispatch(1, fail="on purpose")
    run.dispatch(2)
    run.wait_for("end", 2)
    assert run.times("start") == {1: 1, 2: 1}
    assert run.times("end") == {2: 1}
    run.wait_empty()
    assert "on purpose" in agent.output()


def test_a_worker_that_dies_is_replaced_and_its_job_done_again(run: Run) -> None:
    agent = run.agent()
    run.dispatch(1, die_once=str(run.home / "died"))
    run.dispatch(2)
    run.wait_for("end", 1, 60)
    run.wait_for("end", 2, 60)
    assert run.times("start")[1] == 2
    assert len({step.pid for step in run.steps("start")}) == 2
    assert agent.process.running
    run.wait_empty()


def test_two_agents_share_a_queue(run: Run) -> None:
    run.project.define(1, journal=str(run.journal))
    first = run.agent(ready=False)
    second = run.agent(ready=False, pod_index=1)
    second.wait_ready(consumers=2)
    for number in range(2):
        run.dispatch_held(number)
    run.wait_for("start", 0)
    run.wait_for("start", 1)
    run.open_gate()
    assert sorted(run.project.end(60)) == [first.node, second.node]
    assert [first.process.wait(30), second.process.wait(30)] == [0, 0]
