"""Time limits, limits on a child's life, rate limits, prefetch."""

from __future__ import annotations

from ..session import Session
from ..table import Setting, scenario

TIMES = Setting("time limits", options=("-E", "-c", "6"))
WORKER_TIMES = Setting(
    "time limits of the worker", options=("-E", "-c", "2", "--soft-time-limit=1", "--time-limit=3"), described=True
)
TASKS_PER_CHILD = Setting("tasks per child", options=("-E", "-c", "1", "--max-tasks-per-child=2"), described=True)
MEMORY_PER_CHILD = Setting("memory per child", options=("-E", "-c", "1", "--max-memory-per-child=1000"))
RATES = Setting("rates", options=("-E", "-c", "1", "--prefetch-multiplier=8"))
NO_RATES = Setting("rates off", options=("-E", "-c", "1"), settings={"worker_disable_rate_limits": True})
NARROW = Setting("narrow", options=("-E", "-c", "1", "--prefetch-multiplier=1"), described=True)
UNLIMITED = Setting(
    "unlimited prefetch", options=("-E", "-c", "1"), settings={"worker_prefetch_multiplier": 0}, described=True
)


@scenario(TIMES)
def soft_time_limit(it: Session) -> None:
    """The soft time limit of a task, caught and not."""
    it.send("soft_limited", {"n": 1, "seconds": 8, "catch": True}, id=it.id("caught"))
    it.send("soft_limited", {"n": 2, "seconds": 8}, id=it.id("not caught"))
    it.send("late", {"n": 3, "seconds": 8}, id=it.id("of the message"), soft_time_limit=1)
    it.wait_event("task-succeeded", it.id("caught"))
    it.wait_event("task-failed", times=2)


@scenario(TIMES)
def hard_time_limit(it: Session) -> None:
    """The hard time limit of a task and of a message: early, late, and where timeouts are not acknowledged."""
    for task in ("hard_limited", "late_hard_limited"):
        it.send(task, {"n": 1, "seconds": 20})
    it.send("late", {"n": 2, "seconds": 20}, id=it.id("of the message"), time_limit=1)
    it.send("tracked", {"n": 3, "seconds": 20}, id=it.id("soft first"), time_limit=2, soft_time_limit=1)
    it.wait_event("task-failed", times=4)


@scenario(TIMES)
def hard_time_limit_requeued(it: Session) -> None:
    """A late task whose timeouts are not acknowledged goes back, until it ends in time."""
    it.send("late_hard_limited_unacknowledged", {"n": 1, "until": it.gate()})
    it.wait_started(it.id("late_hard_limited_unacknowledged"), times=2)
    it.open()
    it.wait_event("task-succeeded", it.id("late_hard_limited_unacknowledged"))


@scenario(WORKER_TIMES)
def of_the_worker(it: Session) -> None:
    """--soft-time-limit and --time-limit; the message's limits come first."""
    it.send("early", {"n": 1, "seconds": 20}, id=it.id("soft"))
    it.send("late", {"n": 2, "seconds": 2}, id=it.id("longer by message"), soft_time_limit=8, time_limit=9)
    it.wait_event("task-failed", it.id("soft"))
    it.wait_event("task-succeeded", it.id("longer by message"))


def children(it: Session, tasks: int) -> list[int]:
    """Which child ran each task, numbered in the order of their appearance."""
    for number in range(tasks):
        it.send("early", {"n": number}, id=it.id(str(number)))
        it.wait_event("task-succeeded", it.id(str(number)))
    pids = [entry["pid"] for entry in it.journal.entries("start") if entry["id"].startswith(it.id(""))]
    return [list(dict.fromkeys(pids)).index(pid) for pid in pids]


@scenario(TASKS_PER_CHILD)
def max_tasks_per_child(it: Session) -> None:
    """--max-tasks-per-child: which child runs which task."""
    it.record("children", children(it, 5))


@scenario(MEMORY_PER_CHILD)
def max_memory_per_child(it: Session) -> None:
    """--max-memory-per-child: a child that is larger ends after its task."""
    it.record("children", children(it, 3))


@scenario(RATES)
def rate_limited(it: Session) -> None:
    """A task of 10/m: one runs, the others wait and are shown nowhere; the limit is lifted at run time."""
    for number in range(3):
        it.send("limited", {"n": number}, id=it.id(str(number)))
        it.wait_event("task-received", it.id(str(number)))
    it.wait_event("task-succeeded", it.id("0"))
    it.send("early", {"n": 9}, id=it.id("another task"))
    it.wait_event("task-succeeded", it.id("another task"))
    for method in ("active", "reserved", "scheduled"):
        it.command(method)
    it.record("depths", it.depths())
    it.command("query_task", ids=[it.id("1")])
    it.command("rate_limit", task_name="jobs.limited", rate_limit="1000/s")
    it.send("limited", {"n": 4}, id=it.id("later"))
    it.wait_event("task-succeeded", it.id("later"))
    it.command("rate_limit", task_name="jobs.limited", rate_limit=None)
    it.send("limited", {"n": 5}, id=it.id("last"))
    it.wait_event("task-succeeded", it.id("last"))


@scenario(NO_RATES)
def rates_disabled(it: Session) -> None:
    """`worker_disable_rate_limits`."""
    for number in range(3):
        it.send("limited", {"n": number}, id=it.id(str(number)))
    it.wait_event("task-succeeded", times=3)


@scenario(NARROW)
def prefetch(it: Session) -> None:
    """What is reserved and what stays on the queue; scheduled tasks raise the prefetch count and give it back."""
    it.hold("running", task="late")
    for number in range(3):
        it.send("late", {"n": number}, id=it.id(f"waiting {number}"))
    it.record("depths", it.depths())
    it.open()
    it.wait_event("task-succeeded", times=4)
    for number in range(3):
        it.send("early", {"n": number}, id=it.id(f"scheduled {number}"), countdown=2)
        it.wait_until_known("scheduled", it.id(f"scheduled {number}"))
    it.record("raised", it.command("stats", record=False)["prefetch_count"])
    it.wait_event("task-succeeded", times=7)
    it.record("lowered", it.wait_reply("stats", lambda stats: stats["prefetch_count"] == 1)["prefetch_count"])


@scenario(UNLIMITED)
def unlimited_prefetch(it: Session) -> None:
    """A prefetch multiplier of 0: all is taken."""
    it.hold("running", task="late")
    for number in range(20):
        it.send("late", {"n": number}, id=it.id(f"waiting {number}"))
    it.wait_reply("reserved", lambda tasks: len(tasks) == 20)
    it.record("depths", it.depths())
    it.open()
    it.wait_event("task-succeeded", times=21)


@scenario(NARROW)
def eta_in_the_past(it: Session) -> None:
    """A time that has come already, with and without time zone."""
    it.publish("early", {"n": 1}, id=it.id("utc"), eta="2020-01-01T00:00:00+00:00")
    it.publish("early", {"n": 2}, id=it.id("naive"), eta="2020-01-01T00:00:00")
    it.publish("early", {"n": 3}, id=it.id("other zone"), eta="2020-01-01T00:00:00.123456+02:00")
    it.wait_event("task-succeeded", times=3)
