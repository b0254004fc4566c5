"""The scenarios, a module for each part of a worker's contract."""

from __future__ import annotations

import importlib

MODULES = (
    "outcomes",
    "canvas",
    "messages",
    "control",
    "revokes",
    "limits",
    "queues",
    "backends",
    "signals",
    "state",
    "connection",
    "shutdown",
)


def load() -> None:
    """Fills the table, in the order of `MODULES`."""
    for name in MODULES:
        importlib.import_module(f"{__name__}.{name}")
