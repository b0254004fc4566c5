"""The documented agent on a stock `celery worker`: what armada-agent is compared with.

Run as a script, with the environment variables of a pod. `STOCK_CONCURRENCY` and `STOCK_PREFETCH` replace the
documented 1 and 1 for comparisons.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import redis
from celery import Celery


def main() -> None:
    run_id = os.environ["RUN_ID"]
    pod_index = os.environ.get("POD_INDEX", "0")
    store = redis.Redis(
        host=os.environ.get("REDIS_HOST_VAR_ENV", "localhost"),
        port=int(os.environ.get("REDIS_PORT_VAR_ENV", "6379")),
        db=0,
    )
    raw = store.get(run_id + pod_index)
    if raw is None:
        sys.exit(f"no task definition under {run_id + pod_index}")
    agent_message: dict[str, Any] = json.loads(raw)
    agent_message["run_id"] = run_id
    agent_message["pod_index"] = pod_index
    app = Celery("celery_app", broker=os.environ.get("RABBITMQ_URL", "amqp://localhost:5672"))
    exec(agent_message["code"], {"app": app, "agent_message": agent_message})
    app.worker_main(
        [
            "worker",
            f"--queues={run_id}",
            f"--concurrency={os.environ.get('STOCK_CONCURRENCY', '1')}",
            f"--prefetch-multiplier={os.environ.get('STOCK_PREFETCH', '1')}",
            "-n",
            f"worker{pod_index}@%h",
        ]
    )


if __name__ == "__main__":
    main()
