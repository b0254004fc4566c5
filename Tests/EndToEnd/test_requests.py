"""A task's request, as our worker makes it, beside what Celery's own worker makes of the same message."""

from __future__ import annotations

import ast
import uuid
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Producer

from armada_testing.agent import Kind
from armada_testing.processes import wait_until

from .conftest import Run

CODE = (
    Path(__file__).with_name("project_code.py").read_text()
    + """

def ordered(value):
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value)}
    return [ordered(item) for item in value] if isinstance(value, list) else value


@app.task(name="tasks.dump", bind=True, queue=agent_message["run_id"])
def dump(self, *args, **kwargs):
    request = {key: value for key, value in vars(self.request).items() if not key.startswith("_")}
    line = repr({key: repr(ordered(value)) for key, value in request.items()})
    with open(agent_message["journal"] + ".dump", "a") as file:
        file.write(line + "\\n")
"""
)

HEADERS: dict[str, Any] = {
    "lang": "py",
    "task": "tasks.dump",
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": "g-1",
    "group_index": 3,
    "retries": 0,
    "timelimit": [None, None],
    "root_id": "r-1",
    "parent_id": None,
    "argsrepr": "('é日本',)",
    "kwargsrepr": "{}",
    "origin": "gen1@here",
    "ignore_result": True,
    "replaced_task_nesting": 0,
    "stamped_headers": ["when"],
    "stamps": {"when": ["now", 1]},
    "a time": datetime(2026, 11, 23, 8, 48, 17, tzinfo=timezone.utc),
    "a decimal": Decimal("1.25"),
    "numbers": [0, -1, 255, 1 << 31, -(1 << 40), 1.5, True, False, None],
    "nested": {"deep": {"er": ["x" * 300, {"é": "日本"}]}},
    "x-death": [{"count": 1, "reason": "expired", "time": datetime(2026, 1, 1, tzinfo=timezone.utc)}],
}


def dumped(run: Run, kind: Kind, task_id: str) -> dict[str, str]:
    """What a worker of this kind tells of its request."""
    agent = run.agent(kind=kind)
    with Connection(run.broker.url) as connection:
        Producer(connection).publish(
            [["é日本", 1.5], {"key": [None]}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}],
            routing_key=run.run_id,
            serializer="json",
            headers={**HEADERS, "id": task_id},
            correlation_id=task_id,
            reply_to="oid-1",
            priority=4,
            delivery_mode=2,
        )
    dump = Path(f"{run.journal}.dump")
    wait_until(lambda: dump.exists() and dump.read_text().endswith("\n"), 30, "the request has been dumped")
    assert agent.warm() == 0
    line: dict[str, str] = ast.literal_eval(dump.read_text())
    dump.unlink()
    return line


@pytest.mark.parametrize("project_code", [CODE], ids=["dump"])
def test_a_request_is_what_celerys_worker_makes_it(run: Run, project_code: str, ours: None) -> None:
    task_id = str(uuid.uuid4())
    stock = dumped(run, "celery", task_id)
    own = dumped(run, "agent", task_id)
    assert own == stock
