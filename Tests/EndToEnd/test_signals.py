"""The signals that a project may listen to, in the order of Celery's worker, and the events that others may."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from armada_testing.processes import wait_until

from .conftest import Run

CODE = (
    Path(__file__).with_name("project_code.py").read_text()
    + """

from celery import signals

NAMES = (
    "celeryd_init", "worker_init", "celeryd_after_setup", "worker_ready", "task_received", "task_prerun",
    "task_success", "task_postrun", "worker_shutting_down", "worker_shutdown",
)


def listen(name):
    def receiver(**arguments):
        note(name)

    getattr(signals, name).connect(receiver, weak=False)


for each in NAMES:
    listen(each)
"""
)


@pytest.mark.parametrize("project_code", [CODE], ids=["signals"])
def test_signals_come_in_celerys_order(run: Run, project_code: str) -> None:
    agent = run.agent()
    run.dispatch(1)
    run.wait_for("end", 1)
    wait_until(lambda: bool(run.steps("task_postrun")), 10, "the job has ended")
    assert agent.warm() == 0
    parent = [
        step.event for step in run.steps() if step.event.startswith(("celeryd", "worker")) or step.event == "shutdown"
    ]
    assert parent == [
        "celeryd_init",
        "worker_init",
        "celeryd_after_setup",
        "worker_ready",
        "worker_shutting_down",
        "shutdown",
        "worker_shutdown",
    ]
    job = ("task_prerun", "start", "end", "task_success", "task_postrun")
    assert [step.event for step in run.steps() if step.event in job] == list(job)
    assert len(run.steps("task_received")) == 1
    # The parent's signals fire in the process that loaded the code, the job's in its worker.
    assert run.steps("worker_ready")[0].pid == run.steps("celeryd_init")[0].pid
    assert run.steps("task_prerun")[0].pid == run.steps("init")[0].pid


def test_events_tell_of_the_worker_and_of_its_tasks(run: Run) -> None:
    agent = run.agent()
    received: list[dict[str, Any]] = []
    stop = threading.Event()

    def capture() -> None:
        with run.project.app.connection() as connection:
            receiver = run.project.app.events.Receiver(connection, handlers={"*": received.append})
            while not stop.is_set():
                try:
                    receiver.capture(limit=None, timeout=0.2, wakeup=False)
                except TimeoutError:
                    continue

    thread = threading.Thread(target=capture)
    thread.start()
    try:
        wait_until(lambda: any(e["type"] == "worker-heartbeat" for e in received), 20, "a heartbeat has come")
        reply = run.project.app.control.enable_events(destination=[agent.node], reply=True, timeout=5, limit=1)
        assert reply == [{agent.node: {"ok": "task events enabled"}}]
        task_id = run.dispatch(1)
        wait_until(lambda: any(e["type"] == "task-succeeded" for e in received), 20, "the job's events have come")
        assert agent.warm() == 0
        wait_until(lambda: any(e["type"] == "worker-offline" for e in received), 20, "the worker has taken its leave")
    finally:
        stop.set()
        thread.join()
    events = {event["type"]: event for event in received}
    assert events["worker-heartbeat"]["sw_ident"] == "py-celery"
    assert events["worker-heartbeat"]["hostname"] == agent.node
    assert [e["type"] for e in received if e["type"].startswith("task-")] == [
        "task-received",
        "task-started",
        "task-succeeded",
    ]
    assert {e["uuid"] for e in received if e["type"].startswith("task-")} == {task_id}
    assert events["task-received"]["name"] == "tasks.consume_message"
    assert events["task-received"]["retries"] == 0
    assert events["task-succeeded"]["result"] == "None"
    assert events["task-succeeded"]["runtime"] > 0
    clocks = [e["clock"] for e in received]
    assert clocks == sorted(clocks)
