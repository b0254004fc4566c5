"""Warm and cold shutdown, and what is left after a kill."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from armada_testing.agent import Agent
from armada_testing.processes import wait_until
from armada_testing.procfs import descendants, wait_gone

from .conftest import Run


def hold_one(run: Run) -> Agent:
    """An agent in the middle of job 1."""
    agent = run.agent()
    run.dispatch_held(1)
    run.dispatch(2)
    run.wait_for("start", 1)
    return agent


@pytest.mark.parametrize("how", ["sigterm", "control"])
def test_a_warm_shutdown_finishes_the_running_job_and_no_other(run: Run, how: str) -> None:
    agent = hold_one(run)
    if how == "sigterm":
        agent.process.send(signal.SIGTERM)
    else:
        run.project.app.control.shutdown(destination=[agent.node])

    def stopped_consuming() -> bool:
        counts = run.broker.counts(run.run_id)
        return counts is not None and counts[1] == 0

    wait_until(stopped_consuming, 20, "the agent consumes no more")
    run.open_gate()
    assert agent.process.wait(30) == 0
    assert run.times("end") == {1: 1}
    assert len(run.steps("shutdown")) == 1
    assert run.steps()[-1].event == "shutdown"
    # The first job's ack has reached the broker, the second job is still there.
    assert run.broker.counts(run.run_id) == (1, 0)


def test_a_signal_to_the_whole_group_does_not_end_the_job(run: Run, ours: None) -> None:
    agent = hold_one(run)
    os.killpg(agent.pid, signal.SIGTERM)
    wait_until(lambda: (run.broker.counts(run.run_id) or (0, 1))[1] == 0, 20, "the agent consumes no more")
    run.open_gate()
    assert agent.process.wait(30) == 0
    assert run.times("end") == {1: 1}


def test_the_agent_answers_while_it_drains(run: Run, ours: None) -> None:
    agent = hold_one(run)
    agent.process.send(signal.SIGTERM)
    wait_until(lambda: (run.broker.counts(run.run_id) or (0, 1))[1] == 0, 20, "the agent consumes no more")
    inspect = run.project.inspect(seconds=5, destination=[agent.node], limit=1)
    assert inspect.ping() == {agent.node: {"ok": "pong"}}
    assert len(inspect.active()[agent.node]) == 1
    run.open_gate()
    assert agent.process.wait(30) == 0


@pytest.mark.parametrize("signals", [[signal.SIGQUIT], [signal.SIGINT, signal.SIGINT]], ids=["quit", "int-int"])
def test_a_cold_shutdown_returns_the_job_to_the_queue(run: Run, signals: list[signal.Signals]) -> None:
    agent = hold_one(run)
    agent.process.send(signals[0])
    for number in signals[1:]:
        wait_until(lambda: (run.broker.counts(run.run_id) or (0, 1))[1] == 0, 20, "the first signal was taken")
        agent.process.send(number)
    agent.process.wait(30)
    assert not run.steps("end")
    wait_until(lambda: run.broker.counts(run.run_id) == (2, 0), 10, "both jobs are on the queue")
    worker = run.steps("start")[0].pid
    wait_gone([worker], 10)


def test_no_process_outlives_a_killed_agent(run: Run) -> None:
    agent = hold_one(run)
    family = descendants(agent.pid)
    worker = run.steps("start")[0].pid
    assert worker in family
    agent.process.send(signal.SIGKILL)
    agent.process.wait(10)
    wait_gone(family, 20)
    wait_until(lambda: run.broker.counts(run.run_id) == (2, 0), 20, "the jobs are back on the queue")


def test_an_idle_agent_ends_at_once(run: Run) -> None:
    agent = run.agent()
    assert agent.warm() == 0
    assert len(run.steps("shutdown")) == len(run.steps("init"))
    assert not Path(f"/proc/{agent.pid}").exists()
