"""Remote control: every command with its arguments, destinations, and messages that are none."""

from __future__ import annotations

import signal
from typing import Any

from ..session import Session
from ..table import Setting, scenario
from .settings import CONTROL, MAIN, QUIET

AUTOSCALE = Setting("autoscale", options=("-E", "--autoscale=3,1"), described=True)
RESTARTS = Setting("pool restarts", options=("-E", "-c", "1"), settings={"worker_pool_restarts": True})
DEAF = Setting(
    "no remote control",
    options=("-E", "-c", "1", "--without-gossip", "--without-mingle", "--without-heartbeat"),
    settings={"worker_enable_remote_control": False},
    answers=False,
)
NAMED = Setting(
    "other exchanges",
    options=("-E", "-c", "1", "--heartbeat-interval", "1"),
    settings={
        "event_exchange": "other.events",
        "event_queue_prefix": "otherev",
        "event_queue_ttl": 3.0,
        "event_queue_expires": 30.0,
        "control_queue_ttl": 30.0,
        "control_queue_expires": 5.0,
    },
    event_exchange="other.events",
    described=True,
)


def by_id(infos: Any) -> Any:
    """Tasks in the order of their ids."""
    return (
        sorted(infos, key=lambda info: str(info.get("id") or info["request"]["id"]))
        if isinstance(infos, list)
        else infos
    )


@scenario(MAIN)
def inspect_idle(it: Session) -> None:
    """What an idle worker answers."""
    it.command("ping")
    it.command("ping", extra=1)
    it.command("conf")
    it.command("conf", with_defaults=True)
    for method in ("active", "reserved", "scheduled", "clock"):
        it.command(method)
    it.command("active", safe=True)
    it.command("query_task", ids=["nosuch"])
    it.command("query_task", ids="nosuch")
    it.command("registered")
    it.command("registered", taskinfoitems=["rate_limit", "acks_late", "time_limit", "nosuch"])
    it.command("registered", builtins=True)
    it.command("hello", from_node=it.node)
    it.command("hello", from_node="other@host", revoked={})
    for alias in ("dump_conf", "dump_tasks", "dump_active", "dump_reserved", "dump_schedule"):
        it.command(alias)


@scenario(MAIN)
def inspect_debugging(it: Session) -> None:
    """`report`, `memsample`, `memdump`, `objgraph`."""
    report = it.command("report", record=False)
    it.record("report", report)
    for method in ("memsample", "memdump"):
        it.record(method, type(it.command(method, record=False)).__name__)
    it.command("objgraph", num=1)


@scenario(MAIN)
def inspect_busy(it: Session) -> None:
    """Running, reserved and scheduled tasks, and each by its id."""
    for number in range(3):
        it.hold(f"running {number}", task="late" if number else "early")
    it.send("late", {"n": 4, "result": 1}, id=it.id("reserved"))
    it.send("add", args=[1], kwargs={"y": 2}, id=it.id("reserved, keyword"))
    it.send("early", {"n": 5}, id=it.id("scheduled"), countdown=60)
    it.wait_until_known("reserved", it.id("reserved"))
    it.wait_until_known("reserved", it.id("reserved, keyword"))
    it.wait_until_known("scheduled", it.id("scheduled"))
    it.record("active", by_id(it.command("active", record=False)))
    it.record("active, safe", by_id(it.command("active", record=False, safe=True)))
    it.record("reserved", by_id(it.command("reserved", record=False)))
    it.record("scheduled", by_id(it.command("scheduled", record=False)))
    it.command("query_task", ids=[it.id("running 0"), it.id("reserved"), it.id("scheduled"), it.id("nosuch")])
    it.record("prefetch", it.command("stats", record=False)["prefetch_count"])
    it.record("depths", it.depths())
    it.command("revoke", task_id=it.id("scheduled"))
    it.open()
    it.wait_event("task-succeeded", times=5)


@scenario(MAIN)
def total(it: Session) -> None:
    """The count of tasks in `stats`."""
    it.send("total", args=[[1, 2]])
    it.wait_event("task-succeeded")
    it.record("total", it.command("stats", record=False)["total"]["jobs.total"])


@scenario(MAIN)
def unknown_and_wrong(it: Session) -> None:
    """Commands that do not exist, or lack an argument, or have one too many."""
    it.command("nosuch")
    it.command("query_task")
    it.command("clock", surplus=1)
    it.command("active_queues", surplus=1)
    it.command("revoke")
    it.command("rate_limit", task_name="jobs.add")
    it.command("time_limit")
    it.command("hello")
    it.command("terminate", task_id="x")
    it.command("revoke_by_stamped_headers")
    it.command("add_consumer")
    it.command("cancel_consumer")
    it.command("pool_grow", n="many")


@scenario(MAIN)
def project_commands(it: Session) -> None:
    """Commands that the project has registered."""
    it.command("greet")
    it.command("greet", name="é日本")
    it.command("greet", surplus=1)
    it.command("shout", text="loud")
    it.command("stumble")


@scenario(MAIN)
def addressed(it: Session) -> None:
    """Destinations, patterns and matchers."""
    for label, options in (
        ("destination", {"destination": [it.node]}),
        ("destinations", {"destination": ["other@host", it.node]}),
        ("glob", {"pattern": "compat@*", "matcher": "glob"}),
        ("pcre", {"pattern": r"comp\w+@", "matcher": "pcre"}),
        ("all", {}),
    ):
        it.record(label, it.broadcast("ping", limit=1, **options))
    for label, options in (
        ("another's", {"destination": ["other@host"]}),
        ("glob that fails", {"pattern": "other*", "matcher": "glob"}),
        ("pcre that fails", {"pattern": "ompat", "matcher": "pcre"}),
        ("glob that is a regular expression", {"pattern": ".*@.*", "matcher": "glob"}),
    ):
        it.record(label, it.broadcast("ping", limit=1, timeout=0.3, **options))


@scenario(MAIN)
def reply_on_the_wire(it: Session) -> None:
    """How a reply is published."""
    request: dict[str, Any] = {
        "method": "ping",
        "arguments": {},
        "destination": [it.node],
        "pattern": None,
        "matcher": None,
    }
    it.record("reply", it.request(request))
    it.record("error", it.request({**request, "method": "nosuch"}))
    it.record("null", it.request({**request, "method": "hello", "arguments": {"from_node": it.node}}))


@scenario(MAIN)
def messages_that_are_no_commands(it: Session) -> None:
    """Control messages of odd shapes: whatever becomes of them, the worker goes on."""
    good: dict[str, Any] = {"method": "ping", "arguments": {}, "destination": None}
    it.record("no arguments", it.request({"method": "ping", "destination": None}, wait=1))
    it.record("arguments null", it.request({**good, "arguments": None}, wait=1))
    it.record("no destination", it.request({"method": "ping", "arguments": {}}, wait=1))
    it.record("no method", it.request({"arguments": {}}, wait=0.5))
    it.record("method is a number", it.request({**good, "method": 5}, wait=0.5))
    it.record("no ticket", it.request({**good, "ticket": None}, wait=1))
    it.record("not JSON", it.request(b"{nope", wait=0.3))
    it.record("a list", it.request([1], wait=0.3))
    it.record("pickled", it.request(b"\x80\x04N.", wait=0.3, content_type="application/x-python-serialize"))
    it.record("no headers", it.request(good, wait=1, application_headers={}))
    it.record("expired", it.request(good, wait=1, application_headers={"clock": 1, "expires": 1.0}))
    it.command("ping")


@scenario(MAIN)
def heartbeat(it: Session) -> None:
    """The `heartbeat` command, and the worker's own heartbeats."""
    it.command("heartbeat")
    it.cast("heartbeat")

    def beats(asked: bool) -> list[Any]:
        return [
            event for event in it.events.all() if event["type"] == "worker-heartbeat" and (event["freq"] == 5) is asked
        ]

    it.wait(lambda: beats(True) and beats(False), "heartbeats of both kinds")
    it.record("asked for", beats(True)[-1])
    it.record("own", {**beats(False)[-1], "processed": 0})


@scenario(QUIET)
def events_at_run_time(it: Session) -> None:
    """`enable_events` and `disable_events` of a worker without -E."""
    it.send("early", {"n": 1}, id=it.id("before"))
    it.journal.wait_for("end", id=it.id("before"))
    it.wait_reply("active", lambda tasks: tasks == [])
    it.command("disable_events")
    it.command("enable_events")
    it.command("enable_events")
    it.send("early", {"n": 2}, id=it.id("between"))
    it.wait_event("task-succeeded", it.id("between"))
    it.command("disable_events")
    it.send("early", {"n": 3}, id=it.id("after"))
    it.journal.wait_for("end", id=it.id("after"))


@scenario(MAIN)
def events_with_E(it: Session) -> None:
    """`enable_events` and `disable_events` of a worker with -E change nothing."""
    it.command("disable_events")
    it.command("enable_events")
    it.send("early", {"n": 1})
    it.wait_event("task-succeeded")


@scenario(CONTROL)
def rate_limit(it: Session) -> None:
    """`rate_limit` with good, bad and no rates."""
    for rate in ("100/s", "5/m", "1/h", "3", 7, 1.5, "0", 0, None, "", "nonsense", "1/x"):
        it.command("rate_limit", task_name="jobs.limited", rate_limit=rate)
        it.record(
            f"registered after {rate!r}", [each for each in it.command("registered", record=False) if "limited" in each]
        )
    it.command("rate_limit", task_name="jobs.nosuch", rate_limit="1/s")
    it.command("rate_limit", task_name="jobs.limited", rate_limit=None)


@scenario(CONTROL)
def time_limit(it: Session) -> None:
    """`time_limit`: Celery 5.6.3 keeps to the old limits, so that only the answers are compared."""
    it.command("time_limit", task_name="jobs.nosuch", soft=1, hard=2)
    it.command("time_limit", task_name="jobs.tracked", soft=0.5, hard=20)
    it.command("registered", taskinfoitems=["time_limit", "soft_time_limit"])
    it.command("time_limit", task_name="jobs.tracked", hard=0.5)
    it.command("registered", taskinfoitems=["time_limit", "soft_time_limit"])
    it.command("time_limit", task_name="jobs.tracked")


@scenario(CONTROL)
def pool_size(it: Session) -> None:
    """`pool_grow` and `pool_shrink`: the processes, and the prefetch count."""

    def size(label: str, processes: int) -> None:
        stats = it.wait_reply("stats", lambda stats: len(stats["pool"]["processes"]) == processes)
        it.record(label, [stats["pool"]["max-concurrency"], stats["prefetch_count"]])

    size("at first", 2)
    it.command("pool_grow")
    size("grown by 1", 3)
    it.command("pool_grow", n=2)
    size("grown by 2", 5)
    for number in range(5):
        it.hold(f"held {number}", gate="all")
    it.command("pool_shrink", n=1)
    it.open("all")
    it.wait_event("task-succeeded", times=5)
    size("not shrunk", 5)
    it.command("pool_shrink", n=3)
    it.send("early", {"n": 1})
    it.wait_event("task-succeeded", it.id("early"))
    size("shrunk by 3", 2)
    it.command("pool_grow", n=0)


@scenario(CONTROL)
def not_enabled(it: Session) -> None:
    """Commands that the worker's options do not allow."""
    it.command("autoscale", max=4, min=1)
    it.command("pool_restart")
    it.command("autoscale")


@scenario(AUTOSCALE)
def autoscale(it: Session) -> None:
    """A pool that scales by itself, and the commands about it."""
    it.command("pool_grow")
    it.command("pool_shrink", n=1)
    for number in range(3):
        it.hold(f"held {number}")
    it.record("at most", it.command("stats", record=False)["autoscaler"])
    it.open()
    it.wait_event("task-succeeded", times=3)
    it.command("autoscale", max=4, min=2)
    it.command("autoscale", max=5)
    it.command("autoscale", min=1)
    it.record("prefetch", it.command("stats", record=False)["prefetch_count"])


@scenario(RESTARTS)
def pool_restart(it: Session) -> None:
    """`pool_restart`: other processes afterwards."""
    it.send("early", {"n": 1}, id=it.id("before"))
    it.wait_event("task-succeeded", it.id("before"))
    processes = it.command("stats", record=False)["pool"]["processes"]
    it.command("pool_restart")
    it.wait_reply("stats", lambda stats: stats["pool"]["processes"] not in (processes, []))
    it.send("early", {"n": 2}, id=it.id("between"))
    it.wait_event("task-succeeded", it.id("between"))
    processes = it.command("stats", record=False)["pool"]["processes"]
    it.command("pool_restart", modules=["jobs"], reload=True)
    it.wait_reply("stats", lambda stats: stats["pool"]["processes"] not in (processes, []))
    it.send("early", {"n": 3}, id=it.id("after"))
    it.wait_event("task-succeeded", it.id("after"))
    it.record(
        "processes", len({entry["pid"] for entry in it.journal.entries("start") if entry["id"].startswith(it.id(""))})
    )


@scenario(CONTROL)
def add_and_cancel_consumer(it: Session) -> None:
    """`add_consumer` and `cancel_consumer`: declarations, consumption, what is left."""

    def queues() -> list[str]:
        return [queue["name"] for queue in it.command("active_queues", record=False)]

    it.command("add_consumer", queue="added")
    it.wait(lambda: "added" in queues(), "the queue is consumed")
    it.command("add_consumer", queue="topical", exchange="things", exchange_type="topic", routing_key="a.*")
    it.wait(lambda: "topical" in queues(), "the queue is consumed")
    it.command("active_queues")
    it.record("declarations", it.declarations())
    it.send("early", {"n": 1}, id=it.id("added"), queue="added")
    it.send("early", {"n": 2}, id=it.id("topical"), exchange="things", routing_key="a.b", exchange_type="topic")
    it.wait_event("task-succeeded", times=2)
    it.command("add_consumer", queue="added")
    it.command("cancel_consumer", queue="added")
    it.wait(lambda: "added" not in queues(), "the queue is not consumed any more")
    it.wait(lambda: it.host.counts("added") == (0, 0), "the consumer is gone")
    it.send("early", {"n": 3}, id=it.id("too late"), queue="added")
    it.command("cancel_consumer", queue="nosuch")
    it.command("active_queues")
    it.record("left", it.left("added"))
    it.command("cancel_consumer", queue="topical")
    it.wait(lambda: "topical" not in queues(), "the queue is not consumed any more")


@scenario(DEAF)
def without_remote_control(it: Session) -> None:
    """A worker without remote control, mingle, gossip and heartbeats: no queue of theirs, no answer."""
    it.record("replies", it.broadcast("ping", timeout=0.5))
    it.record("declarations", it.declarations())
    it.send("early", {"n": 1})
    it.wait_event("task-succeeded")


@scenario(NAMED)
def other_exchanges(it: Session) -> None:
    """Events go to the exchange that the configuration names; queues expire as it says; heartbeats each second."""
    it.wait(lambda: [event for event in it.events.all() if event["type"] == "worker-heartbeat"], "a heartbeat")
    it.record(
        "heartbeats each",
        sorted({event["freq"] for event in it.events.all() if event["type"] == "worker-heartbeat"}),
    )
    it.send("early", {"n": 1})
    it.wait_event("task-succeeded")


@scenario(MAIN)
def terminate_command(it: Session) -> None:
    """`terminate` by name: a running task, with a signal."""
    it.hold("running", task="late")
    it.command("terminate", signal="SIGKILL", task_id=it.id("running"))
    it.wait_event("task-revoked", it.id("running"))
    it.command("terminate", signal="KILL", task_id=[it.id("nosuch")])
    it.command("terminate", signal=int(signal.SIGTERM), task_id=it.id("nosuch"))
    it.command("terminate", signal="NOSUCH", task_id=it.id("nosuch"))
