"""Messages of every shape that do not end a stock worker: run, acknowledged, rejected."""

from __future__ import annotations

from ...messages import publish, shapes
from ..session import Session
from ..table import Setting, scenario

MESSAGES = Setting("messages", options=("-E", "-c", "1", "--prefetch-multiplier=1", "-l", "INFO"))
PICKLED = Setting(
    "accepts pickle",
    options=("-E", "-c", "1"),
    environment={"C_FORCE_ROOT": "1"},
    settings={"accept_content": ["json", "pickle"], "result_serializer": "pickle"},
)

JOB = {"n": 7}


@scenario(MESSAGES)
def odd_shapes(it: Session) -> None:
    """Each shape, one at a time: its events and its result, and whether it is dead-lettered."""
    rejected = 0
    for shape in shapes("jobs.early", JOB):
        if shape.ends_stock:
            continue
        publish(it.host, "celery", "jobs.early", JOB, shape, it.id(shape.name))
        it.send("resultless", {"n": 0}, id=it.id(f"behind {shape.name}"))
        it.wait_event("task-succeeded", it.id(f"behind {shape.name}"))
        rejected += shape.outcome == "reject"
    it.wait_dead(rejected)


@scenario(MESSAGES)
def log_of_odd_shapes(it: Session) -> None:
    """What the log says of a message that is no task, and of an unknown one."""
    for line in (
        "Received unregistered task of type",
        "Received and deleted unknown message",
        "Received invalid task message",
        "Can't decode message body",
    ):
        it.record(line, len(it.log_lines(line)))


@scenario(PICKLED)
def pickle(it: Session) -> None:
    """Pickled tasks and results, where they are accepted; compressed ones."""
    it.send("add", args=[1, 2], id=it.id("pickled"), serializer="pickle")
    it.send("add", args=[3, 4], id=it.id("json"), serializer="json")
    it.send("add", args=[5, 6], id=it.id("bzip2"), serializer="pickle", compression="bzip2")
    it.wait_event("task-succeeded", times=3)
