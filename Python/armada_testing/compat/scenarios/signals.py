"""The signals that the project's receivers get, in the parent and in the children."""

from __future__ import annotations

from ..session import Session
from ..table import Setting, scenario

SIGNALS = Setting("signals", options=("-E", "-c", "1", "-l", "INFO"), environment={"PROJECT_SIGNALS": "all"})


# A child that takes a lost one's place starts when it may.
CHILDREN = ("worker_before_create_process", "worker_process_init")


def fired(it: Session, since: int = 0, leave_out: tuple[str, ...] = ()) -> list[list[object]]:
    """What was fired, in order, without the heartbeats and what else is to be left out."""
    return [
        [entry["name"], entry["fields"]]
        for entry in it.journal.entries("signal")[since:]
        if entry["name"] not in ("heartbeat_sent", "import_modules", *leave_out)
    ]


@scenario(SIGNALS)
def at_start(it: Session) -> None:
    """From the first import until the worker is ready."""
    it.journal.wait_for("signal", name="worker_ready")
    it.journal.wait_for("signal", name="worker_process_init")
    it.record("fired", fired(it))


@scenario(SIGNALS)
def of_tasks(it: Session) -> None:
    """Around tasks that succeed, fail, retry, are revoked, unknown, rejected."""
    for name, task, job, last in (
        ("succeeds", "early", {"n": 1}, "task_postrun"),
        ("fails", "early", {"n": 1, "fail": "x"}, "task_postrun"),
        ("retries", "early", {"n": 1, "retry": 1}, None),
        ("unknown", "nosuch", None, "task_unknown"),
        ("dies", "early", {"n": 1, "die": 9}, "task_failure"),
    ):
        since = len(it.journal.entries("signal"))
        it.send(task, job, id=it.id(name))
        it.wait_event("task-succeeded" if name in ("succeeds", "retries") else "task-failed", it.id(name))
        if last is not None:
            it.wait(lambda since=since, last=last: last in [each[0] for each in fired(it, since)], f"{last} is fired")  # type: ignore[misc]
        it.record(name, sorted(fired(it, since, CHILDREN), key=str))
    it.command("revoke", task_id=it.id("revoked"))
    since = len(it.journal.entries("signal"))
    it.send("early", {"n": 1}, id=it.id("revoked"))
    it.wait_event("task-revoked", it.id("revoked"))
    it.wait(lambda: fired(it, since), "a signal is fired")
    it.record("revoked", sorted(fired(it, since, CHILDREN), key=str))


@scenario(SIGNALS)
def at_the_end(it: Session) -> None:
    """A warm shutdown."""
    since = len(it.journal.entries("signal"))
    it.stop(it.worker.warm)
    it.record("fired", fired(it, since))
