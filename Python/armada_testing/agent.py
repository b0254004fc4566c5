"""One agent as a pod runs it: our binary, or the documented agent on a stock `celery worker`."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

from . import REPOSITORY
from .processes import NotReady
from .program import Program
from .rabbitmq import RabbitMQ
from .redis_server import Redis

Kind = Literal["agent", "celery"]

# What a caller's shell may hold must not leak into a pod.
_POD_VARIABLES = ("RUN_ID", "POD_INDEX", "RABBITMQ_URL", "REQUIREMENTS_TXT", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")


def default_kind() -> Kind:
    """`ARMADA_WORKER` of the environment: `agent` (ours, the default) or `celery`."""
    value = os.environ.get("ARMADA_WORKER", "agent")
    if value not in ("agent", "celery"):
        raise ValueError(f"ARMADA_WORKER is {value!r}; expected agent or celery")
    return cast("Kind", value)


def agent_binary() -> Path:
    """`AGENT_BINARY`, else the release build of this checkout."""
    return Path(os.environ.get("AGENT_BINARY", REPOSITORY / ".build" / "release" / "armada-agent"))


def agent_command(kind: Kind) -> list[str]:
    if kind == "celery":
        return [sys.executable, str(Path(__file__).with_name("stock_agent.py"))]
    binary = agent_binary()
    if not binary.exists():
        raise NotReady(f"{binary} is missing: run scripts/build")
    return [str(binary)]


def pod_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what belongs to an agent, and with `settings`."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in _POD_VARIABLES and not name.startswith(("AGENT_", "STOCK_", "REDIS_", "SQL_SERVER_"))
    }
    return {**inherited, "AGENT_PYTHON": sys.executable, **settings}


class Agent(Program):
    """`with Agent(broker, store, run_id, log=…) as agent:` starts it; it is not ready before `wait_ready` returns."""

    def __init__(
        self,
        broker: RabbitMQ,
        store: Redis,
        run_id: str,
        *,
        log: Path,
        pod_index: int = 0,
        kind: Kind | None = None,
        concurrency: int = 1,
        prefetch: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind or default_kind()
        self.run_id = run_id
        self.node = f"worker{pod_index}@{socket.gethostname()}"
        self._broker = broker
        settings = {
            "RUN_ID": run_id,
            "POD_INDEX": str(pod_index),
            "RABBITMQ_URL": broker.url,
            "REDIS_HOST_VAR_ENV": store.host,
            "REDIS_PORT_VAR_ENV": str(store.port),
        }
        prefix = {"celery": ("STOCK_CONCURRENCY", "STOCK_PREFETCH")}.get(
            self.kind, ("AGENT_CONCURRENCY", "AGENT_PREFETCH_MULTIPLIER")
        )
        if concurrency != 1:
            settings[prefix[0]] = str(concurrency)
        if prefetch != 1:
            settings[prefix[1]] = str(prefetch)
        super().__init__(agent_command(self.kind), log, pod_environment({**settings, **(environment or {})}))

    def wait_ready(self, seconds: float = 30, consumers: int = 1) -> None:
        """Until the run's queue has this many consumers."""

        def consumed() -> bool:
            counts = self._broker.counts(self.run_id)
            return counts is not None and counts[1] >= consumers

        self.process.wait_ready(consumed, seconds, f"the queue has {consumers} consumer(s)")
