"""The connection to the broker is lost while tasks run."""

from __future__ import annotations

from ..session import Session
from ..table import Setting, scenario

CANCELLED = Setting(
    "connection lost, tasks cancelled",
    options=("-E", "-c", "3", "-l", "INFO"),
    settings={"worker_cancel_long_running_tasks_on_connection_loss": True},
)


@scenario(CANCELLED)
def late_task_is_cancelled(it: Session) -> None:
    """`worker_cancel_long_running_tasks_on_connection_loss`: a late task is ended and comes again."""
    it.hold("late", task="late")
    it.break_connections()
    it.wait_started(it.id("late"), times=2)
    it.open()
    it.wait_event("task-succeeded", it.id("late"))
