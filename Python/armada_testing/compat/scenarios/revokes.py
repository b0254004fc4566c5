"""Revokes: by id and by stamped headers, before, while waiting and during execution; expiry."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from ..session import Session
from ..table import Setting, scenario

REVOKES = Setting("revokes", options=("-E", "-c", "2", "-l", "INFO"))


def fill(it: Session) -> None:
    """Both processes are busy until the gate is opened."""
    for number in range(2):
        it.hold(f"busy {number}")


@scenario(REVOKES)
def while_reserved(it: Session) -> None:
    """Revoked while it waits for a process; one, and a list; early and late."""
    fill(it)
    for name, task in (("one", "early"), ("two", "late"), ("three", "late")):
        it.send(task, {"n": 1}, id=it.id(name))
        it.wait_until_known("reserved", it.id(name))
    it.command("revoke", task_id=it.id("one"))
    it.record("list", sorted(str(it.command("revoke", record=False, task_id=[it.id("two"), it.id("three")])["ok"])))
    it.open()
    it.wait_event("task-revoked", times=3)
    it.record("revoked", sorted(it.command("revoked", record=False)))


@scenario(REVOKES)
def before_it_comes(it: Session) -> None:
    """Revoked before it was sent: discarded when it is received."""
    it.command("revoke", task_id=it.id("early"))
    it.send("early", {"n": 1})
    it.wait_event("task-revoked", it.id("early"))
    it.command("revoke", task_id=it.id("ignored"))
    it.send("resultless", {"n": 1}, id=it.id("ignored"))
    it.wait_event("task-revoked", it.id("ignored"))


@scenario(REVOKES)
def running_not_terminated(it: Session) -> None:
    """Revoked while it runs, without terminate: it goes on."""
    it.hold("running")
    it.command("revoke", task_id=it.id("running"))
    it.open()
    it.wait_event("task-succeeded", it.id("running"))


@scenario(REVOKES)
def terminated(it: Session) -> None:
    """Terminated while it runs: early and late, by several signals."""
    for name, task, arguments in (
        ("early", "early", {}),
        ("late", "late", {}),
        ("killed", "late", {"signal": "SIGKILL"}),
        ("by number", "early", {"signal": 9}),
        ("returned", "late_returned", {"signal": "KILL"}),
    ):
        it.hold(name, task=task)
        it.command("revoke", task_id=it.id(name), terminate=True, **arguments)
        it.wait_event("task-revoked", it.id(name))
    it.command("revoke", task_id=it.id("early"), terminate=True, label="after its end")
    it.command("revoke", task_id=it.id("nosuch"), terminate=True)


@scenario(REVOKES)
def terminated_by_a_signal_it_handles(it: Session) -> None:
    """SIGUSR1 is the soft time limit's: the task sees SoftTimeLimitExceeded."""
    it.send("early", {"n": 1, "until": it.gate(), "catch": True}, id=it.id("running"))
    it.wait_started(it.id("running"))
    it.command("revoke", task_id=it.id("running"), terminate=True, signal="SIGUSR1")
    it.journal.wait_for("soft", n=1)
    it.wait_event("task-succeeded", it.id("running"))


@scenario(REVOKES)
def terminated_while_reserved(it: Session) -> None:
    """Terminated before it has a process."""
    fill(it)
    it.send("late", {"n": 1}, id=it.id("reserved"))
    it.wait_until_known("reserved", it.id("reserved"))
    it.command("revoke", task_id=it.id("reserved"), terminate=True)
    it.open()
    it.wait_event("task-revoked", it.id("reserved"))


@scenario(REVOKES)
def scheduled(it: Session) -> None:
    """Revoked while it waits for its time."""
    it.send("late", {"n": 1}, id=it.id("scheduled"), countdown=1.5)
    it.wait_until_known("scheduled", it.id("scheduled"))
    it.command("revoke", task_id=it.id("scheduled"))
    it.wait_event("task-revoked", it.id("scheduled"))


@scenario(REVOKES)
def expired(it: Session) -> None:
    """Expired when it comes, while it waits for a process, and while it waits for its time."""
    past = datetime.now(timezone.utc) - timedelta(seconds=60)
    # A message with an expiry in the past would be dropped by the broker: only the header says so here.
    headers = {"expires": past.isoformat()}
    it.publish("early", {"n": 1}, id=it.id("past"), **headers)
    it.wait_event("task-revoked", it.id("past"))
    it.publish("resultless", {"n": 1}, id=it.id("past, no result"), ignore_result=True, **headers)
    it.wait_event("task-revoked", it.id("past, no result"))
    fill(it)
    soon = datetime.now(timezone.utc) + timedelta(seconds=0.6)
    it.publish("late", {"n": 1}, id=it.id("waiting"), expires=soon.isoformat())
    it.wait_event("task-received", it.id("waiting"))
    it.wait(lambda: datetime.now(timezone.utc) > soon, "it has expired")
    it.open()
    it.wait_event("task-revoked", it.id("waiting"))
    it.record("revoked", sorted(each for each in it.command("revoked", record=False) if each.startswith(it.id(""))))


@scenario(REVOKES)
def by_stamped_headers(it: Session) -> None:
    """Revoked by stamps: while reserved, and terminated while running; lists and dictionaries."""
    it.command("revoke_by_stamped_headers", headers={"colour": "red"})
    it.command("revoke_by_stamped_headers", headers=["shape=round"])
    it.command("revoke_by_stamped_headers", headers={"size": ["s", "m"]}, terminate=True)
    for name, stamps in (
        ("red", {"colour": "red"}),
        ("red of two", {"colour": ["green", "red"]}),
        ("round", {"shape": "round"}),
        ("middle", {"size": "m"}),
    ):
        task = it.signature("early", {"n": 1}, id=it.id(name))
        task.stamp(**stamps)
        task.apply_async()
        it.wait_event("task-revoked", it.id(name))
    for name, stamps in (("green", {"colour": "green"}), ("unrelated", {"weight": "red"})):
        task = it.signature("late", {"n": 1}, id=it.id(name))
        task.stamp(**stamps)
        task.apply_async()
        it.wait_event("task-succeeded", it.id(name))
    running = it.signature("late", {"n": 1, "until": it.gate()}, id=it.id("running"))
    running.stamp(batch=["b1", "b2"])
    running.apply_async()
    it.wait_started(it.id("running"))
    it.command("revoke_by_stamped_headers", headers={"batch": ["b2", "b3"]}, terminate=True)
    it.wait_event("task-revoked", it.id("running"))
