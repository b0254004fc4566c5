"""Every way to end a worker: exit status, what is left on the queue, events, signals, results."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from ..session import Session
from ..table import Setting, scenario

OPTIONS = ("-E", "-c", "2", "-l", "INFO")
SIGNALS = {"PROJECT_SIGNALS": "worker_shutting_down worker_shutdown"}


def setting(name: str, environment: Mapping[str, str] = SIGNALS, **settings: Any) -> Setting:
    """A worker for one ending."""
    return Setting(name, options=OPTIONS, environment=environment, settings=settings)


def occupy(it: Session) -> None:
    """Two tasks run, early and late, two are reserved, one waits for its time."""
    it.hold("running, early", task="early")
    it.hold("running, late", task="late")
    it.send("early", {"n": 3}, id=it.id("reserved, early"))
    it.send("late", {"n": 4}, id=it.id("reserved, late"))
    it.send("late", {"n": 5}, id=it.id("scheduled"), countdown=60)
    it.wait_until_known("scheduled", it.id("scheduled"))


def shutting_down(it: Session) -> None:
    """Until the worker has begun to end."""
    it.journal.wait_for("signal", name="worker_shutting_down")


def end(it: Session, *numbers: int, opened: bool) -> None:
    """Sends these signals, opens the gate if the tasks are to end, and records what the worker leaves."""
    for number in numbers:
        it.worker.process.send(number)
        shutting_down(it)
    if opened:
        it.open()
    finish(it)


def finish(it: Session) -> None:
    """Its exit status, and what is left."""
    it.stop(lambda: it.worker.wait_ended(20))
    it.record("left", it.left())
    it.record("signals", it.signals(*SIGNALS["PROJECT_SIGNALS"].split()))


WARM = setting("warm shutdown")
REMOTE = setting("remote shutdown")
INTERRUPTED = setting("interrupt")
IDLE = setting("idle shutdown")
RESTARTED = setting("hangup")
COLD = setting("cold shutdown")
TWICE = setting("interrupted twice")
REMAPPED = setting("remapped SIGTERM", environment={**SIGNALS, "REMAP_SIGTERM": "SIGQUIT"})
SOFT_IN_TIME = setting("soft shutdown in time", worker_soft_shutdown_timeout=8)
SOFT_TOO_LATE = setting("soft shutdown too late", worker_soft_shutdown_timeout=1)
SOFT_IDLE = setting("soft shutdown, idle", worker_soft_shutdown_timeout=1, worker_enable_soft_shutdown_on_idle=True)


@scenario(WARM)
def warm(it: Session) -> None:
    """SIGTERM: what runs is done, the rest goes back."""
    occupy(it)
    end(it, signal.SIGTERM, opened=True)


@scenario(REMOTE)
def remote(it: Session) -> None:
    """The `shutdown` command."""
    occupy(it)
    it.record("replies", it.broadcast("shutdown", timeout=0.3))
    end(it, opened=True)


@scenario(INTERRUPTED)
def interrupt(it: Session) -> None:
    """SIGINT, once."""
    occupy(it)
    end(it, signal.SIGINT, opened=True)


@scenario(IDLE)
def idle(it: Session) -> None:
    """SIGTERM to a worker that has nothing to do."""
    end(it, signal.SIGTERM, opened=False)


@scenario(COLD)
def cold(it: Session) -> None:
    """SIGQUIT: what runs is ended."""
    occupy(it)
    end(it, signal.SIGQUIT, opened=False)


@scenario(TWICE)
def interrupt_twice(it: Session) -> None:
    """SIGINT, and again."""
    occupy(it)
    end(it, signal.SIGINT, signal.SIGINT, opened=False)


@scenario(REMAPPED)
def remapped(it: Session) -> None:
    """REMAP_SIGTERM=SIGQUIT: SIGTERM is cold."""
    occupy(it)
    end(it, signal.SIGTERM, opened=False)


@scenario(SOFT_IN_TIME)
def soft_in_time(it: Session) -> None:
    """`worker_soft_shutdown_timeout`, and tasks that end before it is over."""
    it.hold("running, early", task="early")
    it.hold("running, late", task="late")
    it.worker.process.send(signal.SIGQUIT)
    it.wait(lambda: it.log_lines("Initiating Soft Shutdown|shutting down soon"), "a soft shutdown has begun")
    it.open()
    finish(it)


@scenario(SOFT_TOO_LATE)
def soft_too_late(it: Session) -> None:
    """`worker_soft_shutdown_timeout`, and tasks that do not end before it is over."""
    occupy(it)
    it.worker.process.send(signal.SIGQUIT)
    finish(it)


@scenario(SOFT_IDLE)
def soft_idle(it: Session) -> None:
    """`worker_enable_soft_shutdown_on_idle`."""
    it.worker.process.send(signal.SIGQUIT)
    finish(it)


@scenario(RESTARTED)
def hangup(it: Session) -> None:
    """SIGHUP: what runs is done, and the worker begins anew in the same process."""
    it.hold("running", task="late")
    it.worker.process.send(signal.SIGHUP)
    it.open()
    it.wait_event("worker-online", times=2, seconds=20)
    it.worker.wait_answers(it.app)
    it.send("early", {"n": 1}, id=it.id("afterwards"))
    it.wait_event("task-succeeded", it.id("afterwards"))
    it.record("same process", it.command("stats", record=False)["pid"] == it.worker.pid)
