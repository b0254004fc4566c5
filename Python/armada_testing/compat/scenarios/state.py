"""What outlives a worker, and what workers tell each other: --statedb, mingle, gossip, elections."""

from __future__ import annotations

from typing import Any

from ..recording import HOST, NODE
from ..session import Session
from ..table import Setting, scenario

STATE = Setting("statedb", options=("-E", "-c", "1", "--statedb=HOME/state"))
NEIGHBOURS = Setting("neighbours", options=("-E", "-c", "1", "-l", "INFO"))
GOSSIPING = Setting("elections", options=("-E", "-c", "1", "-l", "INFO"), ours=("--with-gossip",))
NEIGHBOUR = f"neighbour@{HOST}"


def revoked_of(it: Session, node: str) -> list[str]:
    """What a node has revoked, as far as this scenario is concerned."""
    replies = it.broadcast("revoked", destination=[node], limit=1)
    return sorted(each for each in replies[0][node] if each.startswith(it.id("")))


@scenario(NEIGHBOURS)
def mingle(it: Session) -> None:
    """A stock worker that starts later learns what this one has revoked, and is told the clock; and the other way."""
    it.command("revoke", task_id=it.id("known to the first"))
    with it.new_worker(NEIGHBOUR, kind="celery") as neighbour:
        neighbour.wait_ready(20, consumers=2)
        neighbour.process.wait_ready(lambda: it.broadcast("ping", destination=[NEIGHBOUR], limit=1), 20, "it answers")
        it.record("neighbour has revoked", revoked_of(it, NEIGHBOUR))
        it.broadcast("revoke", {"task_id": it.id("known to the second")}, destination=[NEIGHBOUR], limit=1)
        it.record("neighbour has synced", "mingle: sync complete" in neighbour.output())
        it.worker.warm()
        it.worker.start()
        it.worker.wait_ready(20, consumers=2)
        it.worker.wait_answers(it.app, 20)
        it.wait(lambda: it.id("known to the second") in revoked_of(it, NODE), "it has learned")
        it.record("has revoked", revoked_of(it, NODE))
        it.record("both answer", sorted(name for reply in it.broadcast("ping", limit=2) for name in reply))
        it.record("exit status of the neighbour", neighbour.warm())


@scenario(NEIGHBOURS)
def gossip(it: Session) -> None:
    """A stock worker sees this one join, live and leave."""
    with it.new_worker(NEIGHBOUR, kind="celery", options=("-c", "1", "-l", "DEBUG")) as neighbour:
        neighbour.process.wait_ready(lambda: it.broadcast("ping", destination=[NEIGHBOUR], limit=1), 20, "it answers")
        it.wait(lambda: both_beat(it), "both have sent heartbeats")
        it.worker.warm()
        neighbour.wait_output(f"{NODE} left")
        it.worker.start()
        it.worker.wait_ready(20, consumers=2)
        it.worker.wait_answers(it.app, 20)
        neighbour.wait_output(f"{NODE} joined the party")
        it.record("exit status of the neighbour", neighbour.warm())


@scenario(GOSSIPING)
def election(it: Session) -> None:
    """An election among this one and a stock worker: both stand, both acknowledge."""
    with it.new_worker(NEIGHBOUR, kind="celery") as neighbour:
        neighbour.process.wait_ready(lambda: it.broadcast("ping", destination=[NEIGHBOUR], limit=1), 20, "it answers")
        it.wait(lambda: both_beat(it), "both have sent heartbeats")
        it.app.control.broadcast("election", arguments={"id": it.id("vote"), "topic": "none", "action": "nothing"})

        def told() -> list[list[Any]]:
            found = {
                tuple(event.get(key) for key in ("hostname", "type", "id", "topic", "action", "cver"))
                for event in it.events.all()
                if event["type"].startswith("worker-elect")
            }
            return sorted([list(each) for each in found], key=str)

        it.wait(lambda: len(told()) == 4, "both have told their parts")
        it.record("elections", told())
    # A stock worker that counts the last acknowledgement before the last candidate ends with an IndexError.
    it.worker.process.kill()


def both_beat(it: Session) -> bool:
    return {NODE, NEIGHBOUR} <= {event["hostname"] for event in it.events.all() if event["type"] == "worker-heartbeat"}


@scenario(STATE)
def statedb(it: Session) -> None:
    """--statedb: revokes are known after a restart."""
    it.command("revoke", task_id=it.id("revoked"))
    it.record("exit status", it.worker.warm())
    it.restart()
    it.record("revoked", revoked_of(it, NODE))
    it.send("early", {"n": 1}, id=it.id("revoked"))
    it.wait_event("task-revoked", it.id("revoked"))
