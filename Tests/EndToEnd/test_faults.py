"""Faults under load: every job is done at least once, none is lost, and how many were done twice is reported."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

import pytest

from armada_testing.processes import wait_until
from armada_testing.procfs import is_alive, wait_gone

from .conftest import Run

BROKER_STOPS = int(os.environ.get("FAULT_BROKER_STOPS", "10"))
WORKER_KILLS = int(os.environ.get("FAULT_WORKER_KILLS", "100"))
AGENT_KILLS = int(os.environ.get("FAULT_AGENT_KILLS", "5"))

Report = Callable[[str, object], None]


def account(run: Run, jobs: int, what: str, record: Report) -> None:
    """Every job ended at least once; notes how many ended, and how many started, more than once."""
    ended, started = run.times("end"), run.times("start")
    assert not set(range(jobs)) - set(ended)
    twice = sum(1 for times in ended.values() if times > 1)
    again = sum(1 for times in started.values() if times > 1)
    record(what, f"{jobs} jobs, {twice} done twice, {again} started twice")
    print(f"\n{what}: {jobs} jobs, none lost, {twice} done twice, {again} started twice")


@pytest.mark.slow
def test_the_broker_stops_and_starts_under_load(fragile_run: Run, record_property: Report) -> None:
    run = fragile_run
    jobs = BROKER_STOPS * 60
    for number in range(jobs):
        run.dispatch(number, seconds=0.02)
    agent = run.agent(prefetch=4)
    for stop in range(BROKER_STOPS):
        goal = min(len(run.times("end")) + 10, jobs)
        run.wait_number_done(goal, 90)
        if stop % 2:
            run.broker.kill()
        else:
            run.broker.stop()
        run.broker.start()
    run.wait_done(range(jobs), 180)
    account(run, jobs, f"broker stopped {BROKER_STOPS} times", record_property)
    run.wait_empty(60)
    assert agent.warm() == 0


@pytest.mark.slow
def test_workers_are_killed_under_load(run: Run, record_property: Report) -> None:
    jobs = WORKER_KILLS * 3
    for number in range(jobs):
        run.dispatch(number, seconds=0.02)
    agent = run.agent(concurrency=2, prefetch=4)
    killed: set[int] = set()

    def living_worker() -> int | None:
        fresh = [step.pid for step in run.steps("start")[-4:] if step.pid not in killed and is_alive(step.pid)]
        return fresh[-1] if fresh else None

    while len(killed) < WORKER_KILLS and len(run.times("end")) < jobs:
        with contextlib.suppress(ProcessLookupError):
            worker = wait_until(lambda: living_worker() or len(run.times("end")) >= jobs, 60, "a worker runs jobs")
            if worker is True:
                break
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
    run.wait_done(range(jobs), 180)
    assert len(killed) == WORKER_KILLS
    account(run, jobs, f"{len(killed)} workers killed", record_property)
    run.wait_empty(60)
    assert agent.process.running
    assert agent.warm() == 0


@pytest.mark.slow
def test_the_agent_is_killed_under_load(run: Run, record_property: Report) -> None:
    jobs = AGENT_KILLS * 40
    for number in range(jobs):
        run.dispatch(number, seconds=0.02)
    agent = run.agent(prefetch=4)
    for _ in range(AGENT_KILLS):
        goal = len(run.times("end")) + 10
        run.wait_number_done(goal, 60)
        worker = run.steps("start")[-1].pid
        agent.process.send(signal.SIGKILL)
        agent.process.wait(10)
        wait_gone([worker], 20)
        agent.start()
    run.wait_done(range(jobs), 120)
    account(run, jobs, f"agent killed {AGENT_KILLS} times", record_property)
    run.wait_empty(60)
    assert agent.warm() == 0


def test_a_job_that_runs_while_the_broker_restarts_is_not_run_twice(fragile_run: Run, ours: None) -> None:
    run = fragile_run
    agent = run.agent()
    run.dispatch_held(1)
    run.dispatch(2)
    run.wait_for("start", 1)
    run.broker.stop()
    run.broker.start()
    agent.wait_ready(60)
    wait_until(lambda: run.broker.depths(run.run_id)[1] == 1, 30, "the job is delivered again", interval=0.2)
    run.open_gate()
    run.wait_for("end", 2, 60)
    run.wait_empty(30)
    assert run.times("start") == {1: 1, 2: 1}
    assert run.times("end") == {1: 1, 2: 1}


def test_an_agent_waits_for_a_broker_that_is_not_there_yet(fragile_run: Run) -> None:
    run = fragile_run
    run.dispatch(1)
    run.broker.stop()
    agent = run.agent(ready=False)
    run.broker.start()  # Takes seconds, in which the agent finds nobody there.
    run.wait_for("end", 1, 90)
    assert agent.process.running
