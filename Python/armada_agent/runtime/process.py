"""A worker's process as Celery's prefork child is one: its beginning, its signals and its end."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from .output import TextStream
from .tracing import tracer_builder


class Current:
    """The job that runs now, or 0; read by signal handlers."""

    job = 0


current = Current()


def initialise(app: Any, hostname: str, index: int) -> None:
    """What `celery.concurrency.prefork.process_initializer` and billiard's worker do at their start."""
    import celery
    from billiard.process import current_process
    from celery import platforms, signals
    from celery._state import _set_task_join_will_block, set_default_app
    from celery.app import trace

    _set_task_join_will_block(True)
    name_process(current_process(), index)
    standard = sys.modules.get("multiprocessing.process")
    if standard is not None:
        name_process(standard.current_process(), index)
    for module_name in ("billiard.util", "multiprocessing.util"):
        module = sys.modules.get(module_name)
        if module is not None:
            module._run_after_forkers()
    install_signal_handlers()
    platforms.set_mp_process_title("celeryd", hostname=hostname)
    app.loader.init_worker()
    app.loader.init_worker_process()
    logfile = os.environ.get("CELERY_LOG_FILE") or None
    if logfile and "%i" in logfile.lower():
        # Each process has a file of its own.
        app.log.already_setup = False
    app.log.setup(
        int(os.environ.get("CELERY_LOG_LEVEL") or 0),
        logfile,
        bool(os.environ.get("CELERY_LOG_REDIRECT")),
        os.environ.get("CELERY_LOG_REDIRECT_LEVEL") or None,
        hostname=hostname,
    )
    app.set_current()
    set_default_app(app)
    app.finalize()
    trace._tasks = app._tasks
    build_tracer = tracer_builder()
    for name, task in app.tasks.items():
        task.__trace__ = build_tracer(name, task, app.loader, hostname, app=app)
    state = sys.modules.get("celery.worker.state")
    if state is not None:
        state.reset_state()
    signals.worker_process_init.send(sender=hostname if celery.VERSION >= (5, 7) else None)


def name_process(process: Any, index: int) -> None:
    """Name a process object as Celery's pool does; logs show it."""
    process._name = f"ForkPoolWorker-{index}"
    process.index = index - 1


def install_signal_handlers() -> None:
    """The dispositions of a prefork child: terminate in order, ignore the terminal, raise the soft limit."""
    for number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, leave)
    if os.environ.get("REMAP_SIGTERM") == "SIGQUIT":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, soft_limit)


def leave(number: int, _: FrameType | None) -> None:
    """End the process by way of its `finally` blocks; a second signal ends it at once."""
    signal.signal(number, signal.SIG_DFL)
    sys.exit(-(256 - number))


def soft_limit(_: int, __: FrameType | None) -> None:
    """Raise in the task, and only there."""
    if current.job:
        from billiard.exceptions import SoftTimeLimitExceeded

        raise SoftTimeLimitExceeded


def exit_code(request: SystemExit) -> int:
    """The status that Python gives a process which ends with `request`."""
    if request.code is None:
        return 0
    if isinstance(request.code, int):
        return request.code
    print(request.code, file=sys.stderr)
    return 1


def finish(code: int, streams: list[TextStream]) -> NoReturn:
    """Fire the shutdown signal, run the finalizers of a forked process, and exit without the interpreter's own."""
    from celery import signals

    guarded(lambda: signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=code))
    for module_name in ("billiard.util", "multiprocessing.util"):
        module = sys.modules.get(module_name)
        if module is not None:
            guarded(module._exit_function)
    for stream in streams:
        guarded(stream.finish_line)
    os._exit(code & 0xFF)


def guarded(action: Callable[[], object]) -> None:
    """Run one step of leaving; its failure is shown and doesn't stop the others."""
    try:
        action()
    except BaseException:
        try:
            traceback.print_exc()
        except BaseException:
            pass
