"""What a project asks of Celery's own worker that the agent does not have: refused with a sentence, never ignored.

docs/options.md has the whole list of what is honoured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .errors import LoadError

STANDARD_CONSUMER = "celery.worker.consumer:Consumer"
STANDARD_WORKER = "celery.apps.worker"
STANDARD_AUTOSCALER = "celery.worker.autoscale:Autoscaler"
STANDARD_STRATEGY = "celery.worker.strategy:default"
STANDARD_REQUEST = "celery.worker.request:Request"

# The names under which Celery knows the two pools that mean something here (`celery/concurrency/__init__.py`).
POOLS = {
    "prefork": "prefork",
    "processes": "prefork",
    "celery.concurrency.prefork:TaskPool": "prefork",
    "solo": "solo",
    "celery.concurrency.solo:TaskPool": "solo",
}

# What py-amqp takes for a connection; the rest of `broker_transport_options` is for publishing, which tasks do.
CONNECTION_OPTIONS = (
    "client_properties",
    "frame_max",
    "channel_max",
    "read_timeout",
    "write_timeout",
    "socket_settings",
)


def refuse_unsupported(app: Any, options: dict[str, Any]) -> None:
    """Raise a LoadError that names everything the agent can't do for this app."""
    found = list(problems(app, options))
    if found:
        raise LoadError("invalid", found[0], "\n".join(found[1:]))


def problems(app: Any, options: dict[str, Any]) -> Iterator[str]:
    """One sentence for each."""
    conf = app.conf
    for blueprint, steps in app.steps.items():
        if steps:
            names = ", ".join(sorted(named(step) for step in steps))
            yield (
                f"app.steps[{blueprint!r}]: found the bootsteps {names}, expected none: they extend the insides of "
                "Celery's own worker; run this project with celery worker, or move what they do into signals"
            )
    worker_class = vars(app).get("Worker")
    if worker_class is not None and worker_class.__module__ != STANDARD_WORKER:
        yield f"app.Worker: found {qualified(worker_class)!r}, expected Celery's own: the agent is the worker"
    if not options.get("pool") and pool_name(conf.worker_pool) is None:
        yield (
            f"worker_pool: found {conf.worker_pool!r}, expected prefork or solo: tasks run in Python processes beside "
            "the agent; -P prefork overrides the setting"
        )
    if qualified(conf.worker_consumer) != STANDARD_CONSUMER:
        yield f"worker_consumer: found {conf.worker_consumer!r}, expected Celery's own: the agent is the consumer"
    if options.get("autoscale") and qualified(conf.worker_autoscaler) != STANDARD_AUTOSCALER:
        yield (
            f"worker_autoscaler: found {conf.worker_autoscaler!r}, expected Celery's own: the agent scales the pool; "
            "leave out --autoscale, or the setting"
        )
    if conf.worker_agent:
        yield f"worker_agent: found {conf.worker_agent!r}, expected none: the agent loads no boot steps"
    if conf.get("worker_pool_start_method") not in (None, "fork"):
        yield (
            f"worker_pool_start_method: found {conf.worker_pool_start_method!r}, expected fork: workers are forked "
            "from a process that has imported the project and has no threads of its own"
        )
    if conf.get("task_retry_on_worker_lost"):
        yield (
            "task_retry_on_worker_lost: found True, expected False: the agent publishes no task anew; "
            "task_reject_on_worker_lost has messages of lost processes go back to the broker"
        )
    for name in ("logfile", "pidfile", "uid", "gid", "umask", "executable"):
        # Celery's command line looks there for what is not given; here it is needed before the project is loaded.
        if conf.get(f"worker_{name}"):
            yield f"worker_{name}: found {conf[f'worker_{name}']!r}, expected it on the command line, as --{name}"
    for name, task in sorted(app.tasks.items()):
        if getattr(task, "retry_on_worker_lost", False):
            yield f"task {name}: found retry_on_worker_lost, expected reject_on_worker_lost in its place"
        for member, standard in (("Strategy", STANDARD_STRATEGY), ("Request", STANDARD_REQUEST)):
            value = getattr(task, member, standard)
            if qualified(value) != standard:
                yield (
                    f"task {name}: found {member} = {qualified(value)!r}, expected Celery's own: requests are handled "
                    "outside of Python; use Task.before_start, on_failure and the like, or signals"
                )


def cautions(app: Any, options: dict[str, Any]) -> Iterator[str]:
    """One sentence for each thing that is done in another way, and hurts nobody."""
    conf = app.conf
    if conf.worker_disable_prefetch:
        yield (
            "worker_disable_prefetch has no effect on RabbitMQ, with Celery's worker neither; "
            "--prefetch-multiplier 1 is nearest to it"
        )
    if conf.event_serializer != "json":
        yield f"event_serializer: found {conf.event_serializer!r}; events are sent as JSON, which every receiver reads"
    if conf.task_serializer != "json":
        yield (
            f"task_serializer: found {conf.task_serializer!r}; tasks may use it, but remote control is spoken in JSON: "
            "`celery inspect` and `celery control` need task_serializer='json' in their own configuration"
        )
    ignored = sorted(set(conf.broker_transport_options or ()) & set(CONNECTION_OPTIONS))
    if ignored:
        yield (
            f"broker_transport_options: {', '.join(ignored)} apply to the connections of tasks, "
            "not to those of the agent itself"
        )


def pool_name(value: Any) -> str | None:
    """`prefork` or `solo`, if the setting means either."""
    return "prefork" if not value else POOLS.get(qualified(value))


def qualified(value: Any) -> str:
    """`module:name` of a class, whether given as such or as text."""
    if isinstance(value, type):
        if value.__module__.startswith("celery.worker.consumer."):
            return f"celery.worker.consumer:{value.__qualname__}"
        return f"{value.__module__}:{value.__qualname__}"
    text = str(value)
    if ":" not in text and "." in text:
        module, _, name = text.rpartition(".")
        return f"{module}:{name}"
    return text


def named(step: Any) -> str:
    """A bootstep's class."""
    kind = step if isinstance(step, type) else type(step)
    return step if isinstance(step, str) else f"{kind.__module__}.{kind.__qualname__}"
