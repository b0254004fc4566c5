"""Links, chains, groups, chords, replacement and stamping: Celery's tracer does them, if the worker lets it."""

from __future__ import annotations

from celery import chain, chord, group

from ..session import Session
from ..table import scenario
from .settings import MAIN, ONE


@scenario(MAIN)
def link(it: Session) -> None:
    """Callbacks of a task that succeeds."""
    task = it.signature("add", 1, 2, id=it.id("first"))
    task.link(it.signature("add", 10, id=it.id("linked")))
    task.apply_async()
    it.wait_result(it.id("linked"))


@scenario(MAIN)
def link_error(it: Session) -> None:
    """Errbacks of a task that fails, and of one whose child is killed."""
    for name, job in (("fails", {"n": 1, "fail": "no"}), ("dies", {"n": 2, "die": 9})):
        task = it.signature("early", job, id=it.id(name))
        task.link_error(it.signature("errback", id=it.id(f"errback of {name}")))
        task.apply_async()
        it.wait_event("task-failed", it.id(name))
        it.journal.wait_for("errback", task=it.id(name))


@scenario(MAIN)
def link_error_of_unknown_task(it: Session) -> None:
    """Errbacks of a task that the worker does not know."""
    task = it.signature("nosuch", id=it.id("unknown"))
    task.link_error(it.signature("errback", id=it.id("errback")))
    task.apply_async()
    it.wait_event("task-failed", it.id("unknown"))
    it.wait_dead()


@scenario(MAIN)
def chains(it: Session) -> None:
    """A chain that ends well, and one whose second link fails."""
    chain(
        it.signature("add", 1, 2, id=it.id("one")),
        it.signature("add", 3, id=it.id("two")),
        it.signature("add", 4, id=it.id("three")),
    ).apply_async()
    it.wait_result(it.id("three"))
    chain(
        it.signature("add", 1, 2, id=it.id("good")),
        it.signature("failing", id=it.id("bad")),
        it.signature("add", 4, id=it.id("never")),
    ).apply_async()
    it.wait_result(it.id("bad"))
    it.wait_event("task-failed", it.id("bad"))


@scenario(MAIN)
def groups(it: Session) -> None:
    """A group of tasks."""
    group(it.signature("add", n, n, id=it.id(f"member {n}")) for n in range(4)).apply_async()
    for n in range(4):
        it.wait_result(it.id(f"member {n}"))


@scenario(ONE)
def chords(it: Session) -> None:
    """A chord that ends well."""
    body = it.signature("total", id=it.id("body"))
    chord([it.signature("add", n, n, id=it.id(f"member {n}")) for n in range(3)], body=body, app=it.app).apply_async()
    it.wait_result(it.id("body"))


@scenario(MAIN)
def chord_with_failure(it: Session) -> None:
    """A chord whose member fails, or is unknown, or dies: the body fails, and its errback is called."""
    for name, member in (
        ("fails", it.signature("failing", id=it.id("fails"))),
        ("dies", it.signature("early", {"n": 1, "die": 9}, id=it.id("dies"))),
        ("is unknown", it.signature("nosuch", id=it.id("is unknown"))),
    ):
        body = it.signature("total", id=it.id(f"body, member {name}"))
        body.link_error(it.signature("errback", id=it.id(f"errback, member {name}")))
        chord([it.signature("add", 1, 1, id=it.id(f"other of {name}")), member], body=body, app=it.app).apply_async()
        it.wait_event("task-failed", it.id(name))
        if name != "is unknown":
            it.wait_result(it.id(f"body, member {name}"))


@scenario(MAIN)
def replace(it: Session) -> None:
    """A task that is replaced by another, alone and in a chain."""
    it.send("early", {"n": 1, "replace": [20, 22]}, id=it.id("replaced"))
    it.wait_result(it.id("replaced"))
    chain(
        it.signature("early", {"n": 1, "replace": [1, 2]}, id=it.id("replaced in a chain")),
        it.signature("add", 10, id=it.id("next")),
    ).apply_async()
    it.wait_result(it.id("next"))


@scenario(MAIN)
def stamping(it: Session) -> None:
    """Stamped headers reach the task, its callbacks and its results."""
    task = it.signature("request", id=it.id("stamped"))
    task.link(it.signature("early", id=it.id("linked")))
    task.stamp(season=["autumn", "winter"], year="2026")
    task.apply_async()
    it.wait_event("task-succeeded", it.id("stamped"))
    it.wait_event("task-succeeded", it.id("linked"))
