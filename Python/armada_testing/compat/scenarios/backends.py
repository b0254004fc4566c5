"""Result backends other than Redis, and settings about results."""

from __future__ import annotations

import sqlite3
from typing import Any

from celery.result import AsyncResult

from ..session import Session
from ..table import Setting, scenario

RPC = Setting("rpc backend", options=("-E", "-c", "2"), backend="rpc")
DATABASE = Setting("database backend", options=("-E", "-c", "1"), backend="database")
EXTENDED = Setting(
    "extended results",
    options=("-E", "-c", "1"),
    settings={
        "result_extended": True,
        "task_track_started": True,
        "task_store_errors_even_if_ignored": True,
        "result_expires": 600,
    },
)
LATE = Setting(
    "late by default",
    options=("-E", "-c", "2"),
    settings={
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_deduplicate_successful_tasks": True,
    },
)


def several_ends(it: Session) -> list[str]:
    """Tasks that end in each way; their ids."""
    it.send("early", {"n": 1, "result": {"a": [1, None]}}, id=it.id("success"))
    it.send("early", {"n": 2, "fail": "no"}, id=it.id("failure"))
    it.send("retried", {"n": 3, "fail": "always"}, id=it.id("retried"))
    it.send("early", {"n": 4, "die": 9}, id=it.id("lost"))
    it.wait_event("task-failed", times=3)
    it.hold("terminated")
    it.command("revoke", task_id=it.id("terminated"), terminate=True)
    it.wait_event("task-revoked", it.id("terminated"))
    it.send("nosuch", id=it.id("unknown"))
    it.wait_event("task-failed", it.id("unknown"))
    it.wait_dead()
    return [it.id(name) for name in ("success", "failure", "retried", "lost", "terminated", "unknown")]


@scenario(RPC)
def rpc(it: Session) -> None:
    """rpc://: results come back to the client's queue, also what the parent writes."""
    found: dict[str, Any] = {}
    for task, job in (
        ("early", {"n": 1, "result": [1, 2]}),
        ("failing", None),
        ("tracked", {"n": 2, "result": 5}),
        ("nosuch", None),
    ):
        result: AsyncResult = it.app.send_task(
            f"jobs.{task}", args=[job] if job is not None else [], task_id=it.id(task)
        )
        value = result.get(timeout=10, propagate=False)
        found[task] = [result.state, value if isinstance(value, list) else repr(value), result.traceback is not None]
    it.record("results", found)
    it.dead()


@scenario(DATABASE)
def database(it: Session) -> None:
    """db+sqlite: what the table holds."""
    ids = several_ends(it)

    def rows() -> list[tuple[Any, ...]]:
        with sqlite3.connect(it.home / "results.sqlite") as connection:
            found = connection.execute(
                "select task_id, status, result is null, traceback is null, name, worker, retries, queue "
                "from celery_taskmeta order by task_id"
            ).fetchall()
        return [row for row in found if row[0] in ids]

    it.wait(lambda: len(rows()) == len(ids), "all are stored")
    it.record("rows", rows())


@scenario(EXTENDED)
def extended(it: Session) -> None:
    """`result_extended`, `task_track_started`, `task_store_errors_even_if_ignored`."""
    several_ends(it)
    it.send("resultless", {"n": 9, "fail": "stored"}, id=it.id("stored"))
    it.wait_event("task-failed", it.id("stored"))
    it.hold("started")
    it.record("while it runs", it.result(it.id("started")))
    it.open()
    it.wait_event("task-succeeded", it.id("started"))
    it.wait_result(it.id("started"))
    it.record("expires", it.redis.ttl(f"celery-task-meta-{it.id('started')}") > 500)


@scenario(LATE)
def late_by_default(it: Session) -> None:
    """`task_acks_late`, `task_reject_on_worker_lost` and `worker_deduplicate_successful_tasks`."""
    it.send("early", {"n": 1, "die": 9, "once": it.gate("died")}, id=it.id("returned"))
    it.wait_event("task-succeeded", it.id("returned"))
    it.send("early", {"n": 2, "fail": "no"}, id=it.id("failure"))
    it.wait_event("task-failed", it.id("failure"))
    it.record("depths", it.depths())
