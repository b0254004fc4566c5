"""Loading the user's code as a Celery worker would, and describing the result."""

from __future__ import annotations

import importlib
import json
import linecache
import logging
import os
import platform
import sys
import time
import traceback
from types import TracebackType
from typing import Any

from . import broker, celery_app, compatibility
from .errors import LoadError
from .output import TextStream, tag_levels
from .standins import WorkerStandIn

CODE_NAME = "<agent code>"


class Loaded:
    """The application, what stands for its worker, and whether its output goes through the agent's log."""

    def __init__(self, app: Any, worker: WorkerStandIn, relays_output: bool) -> None:
        self.app = app
        self.worker = worker
        self.relays_output = relays_output


def load(request: dict[str, Any], streams: list[TextStream]) -> Loaded:
    """Do what LOAD asks for, firing the signals of a worker's start in Celery's order."""
    mode = request.get("mode")
    try:
        if mode == "armada":
            app = execute(request)
        elif mode == "app":
            app = celery_app.find(request)
        else:
            raise LoadError("invalid", f"unknown mode {mode!r}")
        return Loaded(app, start(app, request, streams), relays_output=mode == "armada")
    except LoadError:
        raise
    except BaseException as error:
        raise described(error) from error


def execute(request: dict[str, Any]) -> Any:
    """Make the app and execute the code of an agent message with it."""
    from celery import Celery

    message = request.get("message")
    if isinstance(message, str):
        try:
            message = json.loads(message)
        except ValueError as error:
            raise LoadError("invalid", f"the agent message is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise LoadError("invalid", f"the agent message is not an object but {type(message).__name__}")
    code = message.get("code")
    if not isinstance(code, str):
        found = "missing" if "code" not in message else f"of type {type(code).__name__}"
        raise LoadError("invalid", f"the agent message's `code` is {found}; expected Python source as a string")
    message["run_id"] = str(request.get("run_id", ""))
    message["pod_index"] = str(request.get("pod_index", ""))
    app = Celery("celery_app", broker=request.get("broker_url"))
    # Tracebacks and inspect show the user's own lines.
    linecache.cache[CODE_NAME] = (len(code), None, code.splitlines(keepends=True), CODE_NAME)
    compiled = compile(code, CODE_NAME, "exec", dont_inherit=True)
    exec(compiled, {"app": app, "agent_message": message})
    return app


def start(app: Any, request: dict[str, Any], streams: list[TextStream]) -> WorkerStandIn:
    """The steps of `celery.worker.WorkController.__init__` and `celery.apps.worker.Worker` that users can observe."""
    from celery import signals
    from celery.app import trace

    is_project = request.get("mode") == "app"
    hostname = str(request.get("hostname") or "celery@localhost")
    options: dict[str, Any] = request.get("options") or {}
    if is_project:
        celery_app.read_arguments(app, request, options)
    app.set_current()
    app.loader.init_worker()
    trace.setup_worker_optimizations(app, hostname)
    worker = WorkerStandIn(app, hostname, options)
    signals.celeryd_init.send(sender=hostname, instance=worker, conf=app.conf, options=dict(options))
    if is_project:
        celery_app.check_privileges(app)
    worker.setup_defaults()
    select_queues(app, request, hostname)
    note_includes(app, options.get("include") or ())
    compatibility.refuse_unsupported(app, options)
    if is_project:
        # Wrong ones end the worker before the project is told that it starts.
        broker.brokers(app)
    signals.worker_init.send(sender=worker)
    has_own_logging = celery_app.setup_logging(app, worker, colorize=None if is_project else False)
    if not is_project and app.conf.worker_redirect_stdouts:
        tag_levels(streams)
    trace.setup_worker_optimizations(app, hostname)
    signals.celeryd_after_setup.send(sender=hostname, instance=worker, conf=app.conf)
    if is_project:
        celery_app.on_start(app, worker, has_own_logging, streams)
    for caution in compatibility.cautions(app, options):
        logging.getLogger("celery.worker").warning("%s", caution)
    return worker


def note_includes(app: Any, modules: Any) -> None:
    """Import what -I names, and note all modules that hold tasks (`celery.worker.WorkController.setup_includes`)."""
    for module in modules:
        app.loader.import_task_module(module)
    known = set(app.conf.include) | set(modules)
    app.conf.include = tuple(known | {type(task).__module__ for task in app.tasks.values()})


def select_queues(app: Any, request: dict[str, Any], hostname: str) -> None:
    """Apply -Q and -X as Celery's worker does."""
    queues = app.amqp.queues
    for action, key in ((queues.select, "queues"), (queues.deselect, "exclude_queues")):
        try:
            action(request.get(key) or [])
        except KeyError as error:
            option = "-Q" if key == "queues" else "-X"
            raise LoadError(
                "invalid",
                f"{option}: found the queue {error}, expected one of task_queues ({', '.join(sorted(queues))}), "
                "or task_create_missing_queues on",
            ) from None
    if app.conf.worker_direct:
        from celery.utils.nodenames import worker_direct

        queues.select_add(worker_direct(hostname))


def described(error: BaseException) -> LoadError:
    """An exception of the user's code as a LoadError."""
    if isinstance(error, SyntaxError):
        kind = "syntax_error"
        message = f"{type(error).__name__}: {error.msg} (line {error.lineno})"
    elif isinstance(error, ImportError):
        kind = "import_error"
        message = f"{type(error).__name__}: {error}"
    elif isinstance(error, SystemExit):
        kind = "system_exit"
        message = f"the code called sys.exit({error.code!r})"
    else:
        kind = "exception"
        message = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    own = user_frames(error.__traceback__)
    text = "".join(traceback.format_exception(type(error), error, own))
    return LoadError(kind, message, text)


def user_frames(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the project's first own line on; without one, from the first that is not this package's."""

    def package(step: TracebackType) -> str:
        return str(step.tb_frame.f_globals.get("__name__", "")).split(".")[0]

    while trace is not None and package(trace) == LOADERS[0]:
        trace = trace.tb_next
    own = trace
    while own is not None and package(own) in LOADERS:
        own = own.tb_next
    return own or trace


# The packages whose frames stand between this one and the project's code.
LOADERS = (__name__.split(".")[0], "celery", "kombu", "importlib")

CONF = (
    "broker_url broker_read_url broker_write_url broker_transport_options broker_connection_timeout "
    "broker_connection_retry broker_connection_retry_on_startup broker_connection_max_retries "
    "broker_channel_error_retry broker_failover_strategy broker_heartbeat broker_heartbeat_checkrate "
    "broker_login_method broker_use_ssl broker_native_delayed_delivery_queue_type broker_pool_limit "
    "accept_content result_backend enable_utc timezone task_default_queue task_default_queue_type "
    "task_default_exchange task_default_exchange_type task_default_routing_key task_create_missing_queues "
    "task_create_missing_queue_type task_queue_max_priority task_acks_late task_acks_on_failure_or_timeout "
    "task_acks_on_failure task_acks_on_timeout task_reject_on_worker_lost task_time_limit task_soft_time_limit "
    "task_default_rate_limit task_serializer task_ignore_result task_store_errors_even_if_ignored "
    "worker_concurrency worker_prefetch_multiplier worker_eta_task_limit worker_disable_prefetch "
    "worker_enable_prefetch_count_reduction worker_cancel_long_running_tasks_on_connection_loss "
    "worker_soft_shutdown_timeout worker_enable_soft_shutdown_on_idle worker_disable_rate_limits "
    "worker_enable_remote_control worker_send_task_events worker_max_tasks_per_child "
    "worker_max_memory_per_child worker_proc_alive_timeout worker_lost_wait worker_pool worker_pool_restarts "
    "worker_autoscaler worker_consumer worker_state_db worker_direct worker_detect_quorum_queues "
    "worker_timer_precision worker_deduplicate_successful_tasks worker_log_format worker_task_log_format "
    "worker_redirect_stdouts worker_redirect_stdouts_level worker_hijack_root_logger "
    "event_exchange event_exchange_prefix event_serializer event_queue_expires event_queue_ttl "
    "event_queue_prefix event_queue_exclusive event_queue_durable control_exchange control_queue_ttl "
    "control_queue_expires control_queue_exclusive control_queue_durable"
).split()

TASK_OPTIONS = (
    "acks_late acks_on_failure_or_timeout acks_on_failure acks_on_timeout reject_on_worker_lost ignore_result "
    "store_errors_even_if_ignored rate_limit time_limit soft_time_limit send_events track_started exchange "
    "routing_key queue priority expires serializer max_retries default_retry_delay typing"
).split()


def json_safe(value: Any) -> Any:
    """A value as JSON has it, or None for what JSON can't hold."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_safe(item) for item in value]
    return str(value)


def manifest(loaded: Loaded) -> dict[str, Any]:
    """All that the agent needs to know of the application."""
    import celery
    import kombu

    app = loaded.app
    conf = app.conf
    # Some settings are properties, which look at the environment, too.
    settings = {key: json_safe(getattr(conf, key)) for key in CONF if key in conf}
    settings["worker_pool"] = compatibility.pool_name(conf.worker_pool)
    settings["worker_concurrency"] = loaded.worker.concurrency
    if not loaded.relays_output:
        settings.update(broker.brokers(app), broker_login_method=None, broker_use_ssl=False)
    tasks = {
        name: {option: json_safe(getattr(task, option)) for option in TASK_OPTIONS if hasattr(task, option)}
        for name, task in app.tasks.items()
    }
    consumed = app.amqp.queues.consume_from
    others = [queue for name, queue in app.amqp.queues.items() if name not in consumed]
    default = app.amqp.queues.default_exchange if hasattr(app.amqp.queues, "default_exchange") else None
    return {
        "celery": celery.__version__,
        "kombu": kombu.__version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "sw_sys": platform.system(),
        "sw_ver": celery.__version__,
        "pid": os.getpid(),
        "app": app.main,
        "hostname": loaded.worker.hostname,
        "conf": settings,
        "tasks": tasks,
        "queues": [json_safe(queue.as_dict(recurse=True)) for queue in consumed.values()],
        "other_queues": [json_safe(queue.as_dict(recurse=True)) for queue in others],
        "default_exchange": json_safe(default.as_dict()) if default is not None else None,
        "accept_content": accepted(conf.accept_content),
        "max_tasks_per_child": loaded.worker.max_tasks_per_child,
        "control_commands": control_commands(),
        "receivers": receivers(),
        "utcoffset": (time.altzone if time.localtime().tm_isdst else time.timezone) // 3600,
        "oid": app.thread_oid if hasattr(app, "thread_oid") else app.oid,
        "backend": app.backend.as_uri() if conf.result_backend else None,
    }


def accepted(names: Any) -> list[str]:
    """The MIME types that `accept_content` allows."""
    from kombu.serialization import prepare_accept_content

    return sorted(str(name) for name in prepare_accept_content(names) or ())


def control_commands() -> list[str]:
    """The user's own remote-control commands."""
    module = sys.modules.get("celery.worker.control")
    if module is None:
        return []
    return sorted(
        name for name, function in module.Panel.data.items() if getattr(function, "__module__", None) != module.__name__
    )


def receivers() -> list[str]:
    """The signals that have receivers: the others need not be fired."""
    signals = importlib.import_module("celery.signals")
    return sorted(name for name in signals.__all__ if getattr(signals, name).receivers)
