"""What a task can end in, early and late acknowledged: events, results, what becomes of the message."""

from __future__ import annotations

import signal

from ..session import Session
from ..table import scenario
from .settings import MAIN, ONE


@scenario(MAIN)
def success(it: Session) -> None:
    """A task that succeeds, early and late acknowledged; arguments of several types."""
    for task in ("early", "late", "tracked", "resultless", "silent"):
        it.send(task, {"n": 1, "result": [1, 2.5, None, "é日本", {"a": True}]})
    it.send("add", args=[2, 3])
    it.wait_event("task-succeeded", times=5)


@scenario(MAIN)
def event_messages(it: Session) -> None:
    """How events travel: routing key, headers, delivery mode, lists."""
    it.send("early", {"n": 1})
    it.wait_event("task-succeeded")
    it.record("event messages", it.event_messages())


@scenario(MAIN)
def failure(it: Session) -> None:
    """A task that fails, early and late acknowledged, and where failures are rejected."""
    for task in ("early", "late", "late_unacknowledged", "resultless", "tracked"):
        it.send(task, {"n": 1, "fail": "no"})
    it.send("early", {"n": 2, "fail": "key", "error": "KeyError"}, id=it.id("KeyError"))
    it.wait_event("task-failed", times=6)
    it.wait_dead()


@scenario(MAIN)
def failure_of_odd_kinds(it: Session) -> None:
    """Exceptions that can't be pickled, wrong arguments."""
    it.send("early", {"n": 1, "fail": "x", "error": "Unpicklable"}, id=it.id("unpicklable"))
    it.wait_event("task-failed", it.id("unpicklable"))
    it.send("add", args=[1], id=it.id("arguments"))
    it.wait_event("task-failed", it.id("arguments"))


@scenario(MAIN)
def unserialisable_result(it: Session) -> None:
    """A result that the backend's serializer can't hold."""
    it.send("unserialisable")
    it.wait_event("task-failed")


@scenario(ONE)
def retry(it: Session) -> None:
    """A task that retries once, early and late; with an error, and without retries left."""
    it.send("early", {"n": 1, "retry": 1})
    it.send("late", {"n": 2, "retry": 1, "retry_error": "again"})
    it.send("retried", {"n": 3, "fail": "always"})
    it.send("early", {"n": 4, "retry": 5, "max_retries": 1, "retry_error": "enough"}, id=it.id("exhausted"))
    it.send("early", {"n": 5, "retry": 5, "max_retries": 1}, id=it.id("exhausted, no error"))
    it.wait_event("task-succeeded", times=2, seconds=20)
    it.wait_event("task-failed", times=3, seconds=20)


@scenario(ONE)
def reject(it: Session) -> None:
    """Reject, with and without requeueing, early and late."""
    for task in ("early", "late"):
        for requeue in (False, True):
            it.send(task, {"n": 1, "reject": requeue}, id=it.id(f"{task} {requeue}"))
    it.wait_event("task-rejected", times=3)
    it.wait_dead(2)


@scenario(MAIN)
def ignore(it: Session) -> None:
    """Ignore, early and late."""
    for task in ("early", "late"):
        it.send(task, {"n": 1, "ignore": True})
    for task in ("early", "late"):
        it.wait_started(it.id(task))


@scenario(MAIN)
def worker_lost(it: Session) -> None:
    """A child that is killed, or exits, while it runs an early or a late task."""
    it.send("early", {"n": 1, "die": signal.SIGKILL}, id=it.id("early, killed"))
    it.wait_event("task-failed", it.id("early, killed"))
    it.send("late", {"n": 2, "die": signal.SIGKILL}, id=it.id("late, killed"))
    it.wait_event("task-failed", it.id("late, killed"))
    it.send("late_unacknowledged", {"n": 3, "die": signal.SIGKILL}, id=it.id("late, unacknowledged, killed"))
    it.wait_event("task-failed", it.id("late, unacknowledged, killed"))
    it.send("early", {"n": 4, "die": "exit"}, id=it.id("early, exits"))
    it.wait_event("task-failed", it.id("early, exits"))


@scenario(MAIN)
def worker_lost_and_returned(it: Session) -> None:
    """`reject_on_worker_lost`: the message goes back to the queue."""
    it.send("late_returned", {"n": 1, "die": signal.SIGKILL, "once": it.gate("died")})
    it.wait_event("task-succeeded", it.id("late_returned"))


@scenario(MAIN)
def large(it: Session) -> None:
    """Large arguments, and a large result."""
    it.send("early", {"n": 1, "result": 0, "padding": "x" * 1_000_000})
    it.send("late", {"n": 1, "size": 1_000_000})
    it.wait_event("task-succeeded", times=2)
    it.record("result of late", len(it.result(it.id("late"))["result"]))


@scenario(MAIN)
def request(it: Session) -> None:
    """What a task sees of its request."""
    it.send("request", headers={"custom": "header"}, priority=3, shadow="other name")
    it.wait_event("task-succeeded")
