"""Settings that several modules use."""

from __future__ import annotations

from ..table import Setting

MAIN = Setting("main", options=("-E", "-c", "3", "-l", "INFO"), described=True)
"""What most scenarios need: events, a Redis backend, three processes."""

ONE = Setting("one process", options=("-E", "-c", "1", "-l", "INFO"))
"""For tasks that come twice: only with one process is it certain what ends first."""

CONTROL = Setting("control", options=("-E", "-c", "2", "-l", "INFO"))
"""For commands that change the worker for good."""

QUIET = Setting("quiet", options=("-c", "1"), task_events=False, described=True)
"""Without -E."""
