"""Python processes that hang where no task runs."""

from __future__ import annotations

import os
import signal

import pytest

from armada_testing.processes import wait_until

from .conftest import PROJECT_CODE, Run

pytestmark = pytest.mark.usefixtures("ours")

HANGS_ONCE = """
app.conf.worker_proc_alive_timeout = 1

@worker_process_init.connect
def hang_once(**_arguments):
    if not os.path.exists(agent_message["journal"] + ".hung"):
        os.close(os.open(agent_message["journal"] + ".hung", os.O_CREAT | os.O_WRONLY))
        time.sleep(600)
"""


@pytest.mark.parametrize("project_code", [PROJECT_CODE + HANGS_ONCE])
def test_a_worker_that_hangs_in_its_initialisation_is_replaced(run: Run) -> None:
    agent = run.agent()
    run.dispatch(1)
    run.wait_for("end", 1)
    assert len({step.pid for step in run.steps("init")}) == 2
    assert "worker_process_init" in agent.output()
    assert "worker_proc_alive_timeout" in agent.output()
    assert agent.warm() == 0


def test_a_worker_that_is_stopped_is_replaced_and_its_job_runs_once(run: Run) -> None:
    agent = run.agent(concurrency=2)
    workers = wait_until(
        lambda: pids if len(pids := {step.pid for step in run.steps("init")}) == 2 else None, 30, "two"
    )
    stopped = min(workers)
    os.kill(stopped, signal.SIGSTOP)
    for number in range(4):
        run.dispatch(number, seconds=0.1)
    run.wait_done(range(4), 60)
    run.wait_empty()
    assert run.times("start") == dict.fromkeys(range(4), 1)
    wait_until(lambda: "doesn't read the job" in agent.output(), 60, "the agent tells of it")
    assert agent.warm() == 0


HOLDS_UP = """
from celery.signals import task_received

@task_received.connect
def slow_receiver(**_arguments):
    while not os.path.exists(agent_message["journal"] + ".gate"):
        time.sleep(0.05)
    note("received")
"""


@pytest.mark.parametrize("project_code", [PROJECT_CODE + HOLDS_UP])
def test_a_receiver_that_holds_up_the_main_process_is_named(run: Run) -> None:
    agent = run.agent()
    run.dispatch(1)
    run.wait_for("end", 1)
    wait_until(lambda: "slow_receiver" in agent.output(), 30, "the agent tells of it")
    assert "is held up" in agent.output()
    (run.home / "journal.gate").touch()
    run.wait_for("received", -1)
    # It answers again, and a worker that dies is replaced.
    run.dispatch(2, die_once=str(run.home / "died"))
    run.wait_for("end", 2)
    assert agent.output().count("is held up") == 1
    assert agent.warm() == 0
