"""What differs between any two runs is replaced by what kind of thing it is; then two observations can be compared."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Members whose value is a measurement: only its type is compared.
_MEASURED = {
    "clock",
    "local_received",
    "loadavg",
    "pid",
    "port",
    "processes",
    "runtime",
    "time",
    "time_start",
    "timestamp",
    "uptime",
    "worker_pid",
}
_PATTERNS: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d([.,]\d+)?([+-]\d\d:\d\d|Z)?"), r"<time\2>"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\bgen\d+@"), "gen<pid>@"),
    (re.compile(r"\bpid:\d+|\bPID \d+"), "<pid>"),
    (re.compile(r"0x[0-9a-f]{6,}"), "<address>"),
    (re.compile(r"ForkPoolWorker-\d+"), "ForkPoolWorker-<n>"),
    (re.compile(r"\bin \d+\.\d+(e-\d+)?s\b"), "in <seconds>s"),
    (re.compile(r"Job: \d+"), "Job: <n>"),
]


def kind_of(value: Any) -> Any:
    """A measurement as its type; nothing stays nothing."""
    if value is None:
        return None
    if isinstance(value, list):
        return [kind_of(item) for item in value]
    if isinstance(value, str) and value.isdigit():
        return "<digits>"
    return f"<{type(value).__name__}>"


class Normaliser:
    """Replaces measurements, random identifiers and the session's own names, these first and in their order."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = [(name, stands) for name, stands in names.items() if name]

    def text(self, value: str) -> str:
        for name, stands in self._names:
            value = value.replace(name, stands)
        for pattern, stands in _PATTERNS:
            value = pattern.sub(stands, value)
        return value

    def __call__(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self.text(str(key)): self._member(str(key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self(item) for item in value]
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, (set, frozenset)):
            return sorted(self(item) for item in value)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return self.text(repr(value))

    def _member(self, key: str, value: Any) -> Any:
        if key == "rusage" and isinstance(value, dict):
            return {name: kind_of(item) for name, item in value.items()}
        if key in _MEASURED and not isinstance(value, dict):
            return kind_of(value)
        return self(value)


@dataclass(frozen=True)
class Found:
    """One difference: where, and what each side has there."""

    path: str
    stock: Any
    own: Any

    def lines(self) -> list[str]:
        return [f"    {self.path}", f"      - {shown(self.stock)}", f"      + {shown(self.own)}"]


class Absent:
    """Stands for what one side does not have."""

    def __repr__(self) -> str:
        return "(absent)"


ABSENT = Absent()


def shown(value: Any) -> str:
    return repr(value) if value is ABSENT else json.dumps(value, ensure_ascii=False)


def compare(stock: Any, own: Any, path: str = "") -> list[Found]:
    """The differences of two observations, each as near to a leaf as it can be named."""
    if isinstance(stock, dict) and isinstance(own, dict):
        found = []
        for key in [*stock, *(key for key in own if key not in stock)]:
            below = f"{path} / {key}" if path else str(key)
            found += compare(stock.get(key, ABSENT), own.get(key, ABSENT), below)
        return found
    if isinstance(stock, list) and isinstance(own, list) and len(stock) == len(own):
        return [
            each
            for index, (left, right) in enumerate(zip(stock, own, strict=True))
            for each in compare(left, right, f"{path} / {index}")
        ]
    if stock == own and type(stock) is type(own):
        return []
    if isinstance(stock, list) and isinstance(own, list):
        return [Found(path, *only(stock, own))]
    return [Found(path, stock, own)]


def only(stock: list[Any], own: list[Any]) -> tuple[list[Any], list[Any]]:
    """The members of two lists that the other lacks."""
    left, right = [[json.dumps(each, sort_keys=True) for each in side] for side in (stock, own)]
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    gone: list[Any] = []
    come: list[Any] = []
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind != "equal":
            gone += stock[a:b]
            come += own[c:d]
    return gone, come


def ordered(
    values: list[Any], key: Callable[[Any], str] = lambda value: json.dumps(value, sort_keys=True)
) -> list[Any]:
    """In an order that does not depend on the run."""
    return sorted(values, key=key)
