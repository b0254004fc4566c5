"""The differences that are meant, each with its reason. One that does not occur is an error, too."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from .normal import Found


@dataclass(frozen=True)
class Difference:
    """Paths of scenarios (`*` for any text) at which ours may differ, and why; `stock` is a part of what stock has."""

    scenario: str
    path: str
    reason: str
    stock: str = ""
    sometimes: bool = False
    """Whether it need not occur in each run, since stock itself does not always do the same."""

    def covers(self, scenario: str, found: Found) -> bool:
        return (
            fnmatch.fnmatchcase(scenario, self.scenario)
            and fnmatch.fnmatchcase(found.path, self.path)
            and self.stock in str(found.stock)
        )


_GOSSIP = "no worker needs another's heartbeats, and each would get all of them"
_WRAPPED = "the event names the error, where stock has ExceptionWithTraceback() and a traceback of billiard's own lines"
_HANDLER = "the last frame of a soft time limit is our signal handler's"
_OFFLINE = "worker-offline is sent once the worker has ended its tasks, not when it begins to end"
_CANCELLED = "stock, which reads no results in a soft shutdown, also calls the tasks cancelled that have ended in it"
_NO_RESULT = "a task that the tracer refuses is told to have succeeded: with nulls by stock, with nothing and 0 here"
_RELEASED = "tasks that an old rate limit held are released by the new one, not by the old one's timer"

LISTED: list[Difference] = [
    # What a worker declares and says of itself.
    Difference("start: *", "declarations / queues / celeryev.<uuid>", _GOSSIP),
    Difference("start: *", "declarations / bindings / celeryev to celeryev.<uuid> *", _GOSSIP),
    Difference("start: other exchanges", "declarations / queues / otherev.<uuid>", _GOSSIP),
    Difference("start: other exchanges", "declarations / bindings / other.events to otherev.<uuid> *", _GOSSIP),
    Difference("control.add_and_cancel_consumer", "declarations / queues / celeryev.<uuid>", _GOSSIP),
    Difference("control.add_and_cancel_consumer", "declarations / bindings / celeryev to celeryev.<uuid> *", _GOSSIP),
    Difference(
        "control.pool_size", "*grown by * / 0", "max-concurrency is the size of the pool, also after it has grown"
    ),
    Difference(
        "control.pool_size", "not shrunk / 0", "max-concurrency is the size of the pool, also after it has grown"
    ),
    # A stock worker's event of a lost child, or of a hard time limit, names a wrapper in place of the error.
    Difference("*", "events of tasks / * / exception", _WRAPPED, stock="ExceptionWithTraceback()"),
    Difference("*", "events of tasks / * / traceback", _WRAPPED, stock="in mark_as_worker_lost"),
    Difference("*", "events of tasks / * / traceback", _WRAPPED, stock="in on_hard_timeout"),
    Difference("limits.*", "* / traceback", _HANDLER, stock="in soft_timeout_sighandler"),
    # Revokes.
    Difference(
        "control.inspect_busy", "events of tasks / *:scheduled", "a scheduled task that is revoked is given up at once"
    ),
    Difference(
        "control.inspect_busy",
        "results / *:scheduled / 0 / children",
        "a scheduled task that is revoked is given up at once",
    ),
    # Rates.
    Difference("limits.rate_limited", "events of tasks / limits.rate_limited:?", _RELEASED),
    Difference("limits.rate_limited", "results / limits.rate_limited:?", _RELEASED),
    Difference("limits.rate_limited", "journal", _RELEASED),
    # Bodies.
    Difference(
        "messages.odd_shapes",
        "events of tasks / *:body is not *",
        "a body is decoded by the child, once it is received",
    ),
    Difference("messages.odd_shapes", "events of tasks / *:kwargs is a list / 2 / result", _NO_RESULT),
    Difference("messages.odd_shapes", "events of tasks / *:kwargs is a list / 2 / runtime", _NO_RESULT),
    # Connections.
    Difference(
        "connection.late_task_is_cancelled",
        "events*",
        "events have a connection of their own, which need not be the one that is lost",
    ),
    Difference(
        "state.election",
        "events",
        "a stock worker that counts the last acknowledgement before the last candidate ends with an IndexError",
        stock="worker-offline",
        sometimes=True,
    ),
    # Endings.
    Difference("shutdown.*", "exit status", "a cold shutdown has cut tasks short, and its status says so"),
    Difference("shutdown.*", "events / * / active", _OFFLINE, sometimes=True),
    Difference("shutdown.soft_in_time", "events of tasks / *", _CANCELLED, stock="task-cancelled"),
    Difference("shutdown.*", "signals", "worker_shutdown is fired whatever the kind of shutdown"),
]


def unused(used: set[Difference], scenarios: Sequence[str]) -> list[Difference]:
    """Listed differences that did not occur although a scenario that they are about was run."""
    return [
        each
        for each in LISTED
        if each not in used
        and not each.sometimes
        and any(fnmatch.fnmatchcase(name, each.scenario) for name in scenarios)
    ]
