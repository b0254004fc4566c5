"""Queues of every kind: what is declared, and from where tasks come."""

from __future__ import annotations

from typing import Any

from ..recording import NODE
from ..session import Session
from ..table import Setting, scenario

SEVERAL = Setting("several queues", options=("-E", "-c", "1", "-Q", "q1,q2"), queue="q2", described=True)
EXCLUDED = Setting(
    "excluded queue",
    options=("-E", "-c", "1", "-X", "unwanted"),
    settings={"task_queues": {"wanted": {}, "unwanted": {}}, "task_default_queue": "wanted"},
    queue="wanted",
    described=True,
)
KINDS = Setting(
    "kinds of queues",
    options=("-E", "-c", "1"),
    settings={
        "task_default_queue": "plain",
        "task_queues": {
            "plain": {"exchange": "plain", "routing_key": "plain"},
            "topical": {"exchange": "topics", "exchange_type": "topic", "routing_key": "news.#"},
            "spread": {"exchange": "spread", "exchange_type": "fanout"},
            "by-header": {
                "exchange": "by-header",
                "exchange_type": "headers",
                "binding_arguments": {"x-match": "all", "colour": "red"},
            },
            "prioritised": {"exchange": "plain", "routing_key": "prioritised", "max_priority": 9},
            "bounded": {
                "exchange": "plain",
                "routing_key": "bounded",
                "message_ttl": 60.0,
                "max_length": 1000,
                "max_length_bytes": 1000000,
                "expires": 600.0,
                "consumer_arguments": {"x-priority": 5},
                "queue_arguments": {"x-single-active-consumer": True},
            },
            "transient": {"exchange": "transient", "routing_key": "transient", "durable": False, "auto_delete": True},
        },
    },
    queue="plain",
    described=True,
)
BROADCAST = Setting(
    "broadcast",
    options=("-E", "-c", "1"),
    environment={"PROJECT_BROADCAST": "everyone"},
    settings={"worker_direct": True},
    queue=f"{NODE}.dq2",
    described=True,
)
QUORUM = Setting(
    "quorum",
    options=("-E", "-c", "1"),
    settings={
        "task_default_queue_type": "quorum",
        "task_default_exchange": "work",
        "task_default_exchange_type": "topic",
    },
    described=True,
)
DEFAULTS = Setting(
    "other default queue",
    options=("-E", "-c", "1"),
    settings={
        "task_default_queue": "jobs",
        "task_default_exchange": "work",
        "task_default_exchange_type": "topic",
        "task_default_routing_key": "work.jobs",
        "task_queue_max_priority": 5,
    },
    queue="jobs",
    described=True,
)
PRIORITIES = Setting(
    "priorities",
    options=("-E", "-c", "1", "--prefetch-multiplier=1"),
    settings={"task_queue_max_priority": 5, "task_acks_late": True},
    prepare=lambda it: send_with_priorities(it),
)
PURGED = Setting("purge", options=("-E", "-c", "1", "--purge"), prepare=lambda it: send_before(it))


@scenario(SEVERAL)
def several(it: Session) -> None:
    """-Q: tasks from each queue."""
    for queue in ("q1", "q2"):
        it.send("late", {"n": 1}, id=it.id(queue), queue=queue)
    it.wait_event("task-succeeded", times=2)


@scenario(EXCLUDED)
def excluded(it: Session) -> None:
    """-X: its tasks stay where they are."""
    with it.host.connect() as connection:
        connection.channel().queue_declare("unwanted", durable=True, auto_delete=False)
    it.send("early", {"n": 1}, id=it.id("unwanted"), queue="unwanted")
    it.send("early", {"n": 1}, id=it.id("wanted"), queue="wanted")
    it.wait_event("task-succeeded", it.id("wanted"))
    it.record("left", it.left("unwanted"))


@scenario(KINDS)
def kinds(it: Session) -> None:
    """Topic, fanout and headers exchanges, priorities, limits, consumer arguments."""
    for name, options in (
        ("plain", {"exchange": "plain", "routing_key": "plain"}),
        ("topical", {"exchange": "topics", "routing_key": "news.today", "exchange_type": "topic"}),
        ("spread", {"exchange": "spread", "exchange_type": "fanout", "routing_key": ""}),
        (
            "by-header",
            {"exchange": "by-header", "exchange_type": "headers", "routing_key": "", "headers": {"colour": "red"}},
        ),
        ("prioritised", {"exchange": "plain", "routing_key": "prioritised", "priority": 7}),
        ("bounded", {"exchange": "plain", "routing_key": "bounded"}),
        ("transient", {"exchange": "transient", "routing_key": "transient"}),
    ):
        it.send("request", id=it.id(name), **options)
        it.wait_event("task-succeeded", it.id(name))


@scenario(BROADCAST)
def broadcast(it: Session) -> None:
    """A Broadcast queue, and the worker's own queue."""
    it.send("early", {"n": 1}, id=it.id("to all"), exchange="everyone", routing_key="", exchange_type="fanout")
    it.wait_event("task-succeeded", it.id("to all"))


@scenario(QUORUM)
def quorum(it: Session) -> None:
    """A quorum queue, and native delayed delivery."""
    it.send("request")
    it.wait_event("task-succeeded")
    it.send("late", {"n": 1}, id=it.id("rejected and returned"), queue="celery")
    it.wait_event("task-succeeded", it.id("rejected and returned"))
    arrival(it, "delayed", "0." * 27 + "1.celery")


def arrival(it: Session, name: str, routing_key: str) -> None:
    """A task through the delay exchanges, one second."""
    headers: dict[str, Any] = {"eta": "2020-01-01T00:00:00+00:00"}
    it.publish("request", id=it.id(name), exchange="celery_delayed_27", routing_key=routing_key, **headers)
    it.wait_event("task-succeeded", it.id(name))


@scenario(DEFAULTS)
def other_defaults(it: Session) -> None:
    """`task_default_*` and `task_queue_max_priority`."""
    it.send("request", exchange="work", routing_key="work.jobs", exchange_type="topic")
    it.wait_event("task-succeeded")


def send_with_priorities(it: Session) -> None:
    """On the queue before the worker starts."""
    with it.host.connect() as connection:
        connection.channel().queue_declare("celery", durable=True, auto_delete=False, arguments={"x-max-priority": 5})
    for priority in (0, 3, 1, 5, None, 4):
        it.send("late", {"n": priority}, id=f"queues.priorities:{priority}", priority=priority)


@scenario(PRIORITIES)
def priorities(it: Session) -> None:
    """The order in which tasks of several priorities run."""
    entries = it.journal.wait_for("end", times=6)
    it.record("order", [entry["n"] for entry in entries][:6])


def send_before(it: Session) -> None:
    """On the queue before the worker starts."""
    with it.host.connect() as connection:
        connection.channel().queue_declare("celery", durable=True, auto_delete=False)
    it.send("early", {"n": 1}, id="queues.purge:purged")


@scenario(PURGED)
def purge(it: Session) -> None:
    """--purge: what waited is gone."""
    it.send("early", {"n": 2})
    it.wait_event("task-succeeded")
