"""How long Python takes to read a task's headers: as JSON, and as marshal (docs/decisions/0003).

`python -m Benchmarks.headers` prints both.
"""

from __future__ import annotations

import json
import marshal
import platform
import timeit
from typing import Any

from armada_testing.messages import good_headers

TASK_ID = "8635e51f-4aff-4110-98fe-084f5d6bef62"
HEADERS: dict[str, Any] = {
    **good_headers(
        "tasks.consume_message",
        TASK_ID,
        argsrepr="({'run_id': 'a1b2', 'url': 'https://example.org'},)",
        ignore_result=False,
    ),
    "properties": {"content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2, "priority": 0},
    "reply_to": "45028a9c-0b6f-3d3a-b923-c5c7cb0b5d90",
    "correlation_id": TASK_ID,
    "hostname": "worker0@host",
    "delivery_info": {"exchange": "", "routing_key": "a1b2", "priority": 0, "redelivered": False},
}
ROUNDS = 7
CALLS = 50_000


def microseconds(read: Any, text: Any) -> float:
    """The best of several rounds, for one call."""
    return min(timeit.repeat(lambda: read(text), number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def main() -> None:
    as_json = microseconds(json.loads, json.dumps(HEADERS))
    # Version 2 has no references, as what the agent writes has none.
    as_marshal = microseconds(marshal.loads, marshal.dumps(HEADERS, 2))
    print(
        f"Python {platform.python_version()}: json {as_json:.1f} µs, marshal {as_marshal:.1f} µs for one task's headers"
    )


if __name__ == "__main__":
    main()
