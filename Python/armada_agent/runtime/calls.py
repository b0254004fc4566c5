"""The calls that the agent makes: signals of the parent, decoding, control commands, writes to the result backend."""

from __future__ import annotations

import base64
from typing import Any

from .load import Loaded, json_safe
from .standins import MessageStandIn, RequestStandIn


class CallError(Exception):
    """A call that can't be answered."""


def perform(loaded: Loaded | None, method: str, arguments: Any) -> Any:
    """Answer one call."""
    if method == "ping":
        return "pong"
    if loaded is None:
        raise CallError("nothing is loaded yet")
    if not isinstance(arguments, dict):
        raise CallError("the arguments are not an object")
    if method == "signal":
        return fire(loaded, arguments)
    if method == "decode_body":
        return decode_body(loaded, arguments)
    if method == "control":
        return control(loaded, arguments)
    if method == "queue.add":
        return add_queue(loaded, **arguments)
    if method == "queue.remove":
        loaded.app.amqp.queues.deselect(arguments["queue"])
        return None
    if method == "state.load":
        return load_state(loaded, str(arguments["path"]))
    if method == "state.save":
        return save_state(loaded, arguments)
    if method.startswith("backend."):
        return backend(loaded, method.removeprefix("backend."), arguments)
    raise CallError(f"unknown method {method!r}")


def fire(loaded: Loaded, arguments: dict[str, Any]) -> Any:
    """Fire a parent-side signal: `name`, and the fields that describe its subject. Answers how many receivers ran."""
    from celery import exceptions, signals

    name = str(arguments.get("name"))
    signal = getattr(signals, name, None) if name in signals.__all__ else None
    if signal is None:
        raise CallError(f"unknown signal {name!r}")
    worker = loaded.worker
    fields: dict[str, Any] = arguments.get("fields") or {}
    sender: Any
    values: dict[str, Any] = {}
    if name in ("worker_ready", "heartbeat_sent"):
        sender = worker.consumer
    elif name in ("worker_shutting_down",):
        sender = worker.hostname
        values = {key: fields.get(key) for key in ("sig", "how", "exitcode")}
    elif name in ("worker_shutdown", "worker_before_create_process"):
        sender = worker
    elif name == "task_received":
        sender = worker.consumer
        values = {"request": RequestStandIn(loaded.app, worker.hostname, fields)}
    elif name == "task_revoked":
        request = RequestStandIn(loaded.app, worker.hostname, fields)
        sender = request.task
        values = {"request": request, **{key: fields.get(key) for key in ("terminated", "signum", "expired")}}
    elif name == "task_rejected":
        sender = worker.consumer
        values = {"message": MessageStandIn(fields), "exc": error_from(fields)}
    elif name == "task_unknown":
        sender = worker.consumer
        values = {
            "message": MessageStandIn(fields),
            "exc": exceptions.NotRegistered(fields.get("name")),
            "name": fields.get("name"),
            "id": fields.get("id"),
        }
    elif name == "task_failure":
        request = RequestStandIn(loaded.app, worker.hostname, fields)
        sender = request.task
        values = {
            "task_id": request.id,
            "exception": error_from(fields),
            "args": request.args,
            "kwargs": request.kwargs,
            "traceback": fields.get("traceback"),
            "einfo": None,
        }
    elif name == "task_retry":
        request = RequestStandIn(loaded.app, worker.hostname, fields)
        sender = request.task
        values = {"request": request, "reason": error_from(fields), "einfo": None}
    else:
        raise CallError(f"{name} is not fired by a worker's parent")
    if name == "worker_ready":
        import logging

        logging.getLogger("celery.apps.worker").info("%s ready.", worker.hostname)
    return len(signal.send(sender=sender, **values))


def error_from(fields: dict[str, Any]) -> BaseException:
    """The exception that a call describes by type and arguments."""
    from billiard import exceptions as billiard
    from celery import exceptions

    kind = str(fields.get("exception_type") or "")
    known: Any = getattr(exceptions, kind, None) or getattr(billiard, kind, None)
    arguments = fields.get("exception_arguments") or []
    if isinstance(known, type) and issubclass(known, BaseException):
        return known(*arguments)
    return Exception(*arguments)


def decode_body(loaded: Loaded, arguments: dict[str, Any]) -> Any:
    """Decode a message's body: JSON-safe."""
    return json_safe(decoded(loaded, arguments))


def decoded(loaded: Loaded, arguments: dict[str, Any]) -> Any:
    """A message's body as it was before it was serialized and compressed."""
    from kombu.compression import decompress
    from kombu.serialization import loads, prepare_accept_content

    body = base64.b64decode(arguments.get("body") or "")
    if arguments.get("compression"):
        body = decompress(body, arguments["compression"])
    return loads(
        body,
        arguments.get("content_type"),
        arguments.get("content_encoding"),
        accept=prepare_accept_content(loaded.app.conf.accept_content),
    )


def payload(loaded: Loaded, arguments: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """args, kwargs and embedded options of a message body, of either protocol."""
    value = decoded(loaded, arguments)
    if isinstance(value, dict):
        embed = {key: value.get(key) for key in ("callbacks", "errbacks", "chord")}
        return value.get("args") or (), value.get("kwargs") or {}, embed
    args, kwargs, embed = value
    return args, kwargs, embed or {}


def control(loaded: Loaded, arguments: dict[str, Any]) -> Any:
    """Run a remote-control command as `kombu.pidbox.Node.dispatch` does: its answer, or what it raised."""
    from celery.worker.control import Panel

    try:
        command = Panel.data[str(arguments.get("method"))]
        return json_safe(command(ControlState(loaded), **(arguments.get("arguments") or {})))
    except Exception as error:
        return {"error": repr(error)}


class ControlState:
    """The first argument of a control command."""

    def __init__(self, loaded: Loaded) -> None:
        self.app = loaded.app
        self.hostname = loaded.worker.hostname
        self.consumer = loaded.worker.consumer
        self.tset = set


def backend(loaded: Loaded, action: str, arguments: dict[str, Any]) -> Any:
    """A write to the result backend, or a call of a task, that Celery's parent makes; runs in the clerk."""
    from celery.app.task import Context

    app = loaded.app
    if action == "call_task":
        app.signature(arguments["task"]).apply_async()
        return None
    if action == "revoke":
        return mark_revoked(app, arguments["ids"], str(arguments["reason"]))
    headers: dict[str, Any] = arguments.get("headers") or {}
    task_id = str(headers.get("id") or arguments.get("id"))
    task = app.tasks.get(headers.get("task"))
    target = task.backend if task is not None else app.backend
    fields: dict[str, Any] = {**headers, **(arguments.get("info") or {})}
    if arguments.get("body"):
        args, kwargs, embed = payload(loaded, arguments)
        fields.update({"args": args, "kwargs": kwargs}, **embed)
    request = Context(fields)
    store = bool(arguments.get("store_result", True))
    if action == "mark_as_failure":
        error = error_from(arguments)
        if arguments.get("exception_type") == "NotRegistered":
            request = unregistered_request(fields)
        target.mark_as_failure(task_id, error, request=request, store_result=store)
    elif action == "mark_as_revoked":
        target.mark_as_revoked(task_id, arguments.get("reason") or "", request=request, store_result=store)
    elif action == "mark_as_retry":
        error = error_from(arguments)
        target.mark_as_retry(task_id, error, arguments.get("traceback"), request=request)
        if task is not None:
            task.on_retry(error, task_id, fields.get("args"), fields.get("kwargs"), None)
    else:
        raise CallError(f"unknown method 'backend.{action}'")
    return None


def unregistered_request(fields: dict[str, Any]) -> Any:
    """What `celery.worker.consumer.Consumer.on_unknown_task` knows of a task: neither its chord nor its errbacks."""
    from celery.utils.objects import Bunch

    known = {key: fields.get(key) for key in ("root_id", "correlation_id", "reply_to")}
    return Bunch(name=fields.get("task"), chord=None, errbacks=None, **known)


def mark_revoked(app: Any, identities: list[str], reason: str) -> None:
    """Write REVOKED for tasks revoked by id, as `celery.worker.control.revoke` of the installed version does."""
    import celery

    unfinished = ("PENDING", "RECEIVED", "RETRY", "REJECTED")
    for identity in identities:
        if celery.VERSION >= (5, 7) and app.backend.get_state(identity) not in unfinished:
            continue
        app.backend.mark_as_revoked(identity, reason=reason, store_result=True)


def add_queue(
    loaded: Loaded,
    queue: str,
    exchange: str | None = None,
    exchange_type: str | None = None,
    routing_key: str | None = None,
    **options: Any,
) -> Any:
    """Select a queue as `celery.worker.consumer.Consumer.add_task_queue` does: its description."""
    queues = loaded.app.amqp.queues
    if queue in queues:
        found = queues[queue]
        queues.select_add(found)
    else:
        found = queues.select_add(
            queue,
            exchange=queue if exchange is None else exchange,
            exchange_type=exchange_type or "direct",
            routing_key=routing_key,
            **options,
        )
    return json_safe(found.as_dict(recurse=True))


def load_state(loaded: Loaded, path: str) -> Any:
    """Read a `--statedb`: the revoked tasks and the clock."""
    from celery.worker import state

    keeper = state.Persistent(state, path, loaded.app.clock)
    try:
        return {"revoked": list(state.revoked), "clock": loaded.app.clock.value}
    finally:
        keeper.close()


def save_state(loaded: Loaded, arguments: dict[str, Any]) -> None:
    """Write a `--statedb`; `revoked` tells how many seconds ago each task was revoked."""
    import time

    from celery.worker import state

    now = time.monotonic()
    state.revoked.clear()
    for identity, age in arguments["revoked"].items():
        state.revoked.add(identity, now - age)
    loaded.app.clock.adjust(arguments["clock"])
    state.Persistent(state, str(arguments["path"]), loaded.app.clock).save()
