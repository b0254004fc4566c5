"""Objects that stand for Celery's worker, consumer and request where user code receives them from signals."""

from __future__ import annotations

import importlib
import os
from datetime import datetime, timezone
from typing import Any

from .errors import LoadError


def processes(setting: Any) -> int:
    """What `worker_concurrency` comes to: none is one a processor, `auto` (Celery 5.7) heeds the container's limit."""
    import celery

    if setting == "auto" and celery.VERSION >= (5, 7):
        sysinfo: Any = importlib.import_module("celery.utils.sysinfo")
        return int(sysinfo.cpu_budget().count)
    try:
        return int(setting or os.cpu_count() or 1)
    except ValueError:
        found = f"worker_concurrency: found {setting!r}, expected a whole number"
        raise LoadError("invalid", found + (", or auto" if celery.VERSION >= (5, 7) else "")) from None


class WorkerStandIn:
    """What a receiver of `celeryd_init`, `worker_init` or `worker_shutdown` may read of a worker."""

    def __init__(self, app: Any, hostname: str, options: dict[str, Any]) -> None:
        self.app = app
        self.hostname = hostname
        self.options = options
        self.startup_time = datetime.now(timezone.utc)
        self.quiet = bool(options.get("quiet"))
        self.pidfile = options.get("pidfile")
        self.purge = bool(options.get("purge"))
        self.no_color = bool(options.get("no_color"))
        self.include = tuple(options.get("include") or ())
        self.pool: Any = None
        self.exitcode: int | None = None
        self.setup_defaults()
        self.consumer = ConsumerStandIn(self)

    def setup_defaults(self) -> None:
        """What the options leave open, the configuration tells, which receivers of `celeryd_init` may have changed."""
        conf = self.app.conf
        options = self.options

        def either(option: str, setting: str) -> Any:
            value = options.get(option)
            return conf.get(setting) if value is None else value

        self.loglevel = options.get("loglevel") or "WARNING"
        self.logfile = either("logfile", "worker_logfile")
        self.concurrency = processes(either("concurrency", "worker_concurrency"))
        self.pool_cls = either("pool", "worker_pool")
        self.autoscale = options.get("autoscale")
        self.task_events = either("task_events", "worker_send_task_events")
        self.time_limit = either("time_limit", "task_time_limit")
        self.soft_time_limit = either("soft_time_limit", "task_soft_time_limit")
        self.prefetch_multiplier = either("prefetch_multiplier", "worker_prefetch_multiplier")
        self.max_tasks_per_child = either("max_tasks_per_child", "worker_max_tasks_per_child")
        self.max_memory_per_child = either("max_memory_per_child", "worker_max_memory_per_child")
        self.statedb = either("statedb", "worker_state_db")
        self.disable_rate_limits = conf.worker_disable_rate_limits

    @property
    def pid(self) -> int:
        return os.getpid()

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} (running)>"


class ConsumerStandIn:
    """What a receiver of `worker_ready` or `task_received` may read of a consumer."""

    def __init__(self, controller: WorkerStandIn) -> None:
        self.controller = controller
        self.app = controller.app
        self.hostname = controller.hostname
        self.pid = os.getpid()
        self.initial_prefetch_count = 0
        self.restart_count = 0

    @property
    def pool(self) -> Any:
        return self.controller.pool

    def __repr__(self) -> str:
        return f"<Consumer: {self.hostname} (running)>"


class MessageStandIn:
    """What a receiver of `task_rejected` or `task_unknown` may read of a message."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.headers: dict[str, Any] = fields.get("headers") or {}
        self.properties: dict[str, Any] = fields.get("properties") or {}
        self.delivery_info: dict[str, Any] = fields.get("delivery_info") or {}
        self.content_type = self.properties.get("content_type")
        self.content_encoding = self.properties.get("content_encoding")
        self.body = fields.get("body")
        self.payload = fields.get("payload")
        self.acknowledged = True


class RequestStandIn:
    """What a receiver of `task_received` or `task_revoked` may read of a request."""

    def __init__(self, app: Any, hostname: str, fields: dict[str, Any]) -> None:
        headers: dict[str, Any] = fields.get("headers") or {}
        self.app = app
        self.hostname = hostname
        self.message = self._message = MessageStandIn(fields)
        self.request_dict: dict[str, Any] = {**headers, **(fields.get("info") or {})}
        self.id = self.task_id = headers.get("id")
        self.name = self.task_name = self.type = headers.get("task")
        self.args = fields.get("args")
        self.kwargs = fields.get("kwargs")
        self.argsrepr = headers.get("argsrepr", "")
        self.kwargsrepr = headers.get("kwargsrepr", "")
        self.root_id = headers.get("root_id")
        self.parent_id = headers.get("parent_id")
        self.group = headers.get("group")
        self.group_index = headers.get("group_index")
        self.eta = headers.get("eta")
        self.expires = headers.get("expires")
        self.correlation_id = self.message.properties.get("correlation_id")
        self.reply_to = self.message.properties.get("reply_to")
        self.delivery_info = self.message.delivery_info
        self.worker_pid = fields.get("worker_pid")
        self.time_start = fields.get("time_start")
        self.acknowledged = bool(fields.get("acknowledged"))

    @property
    def task(self) -> Any:
        return self.app.tasks.get(self.name)

    def __repr__(self) -> str:
        return f"<Request: {self.name}[{self.id}] {self.argsrepr} {self.kwargsrepr}>"
