"""Settings, scenarios, and the table that they make."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .session import Session


@dataclass(frozen=True)
class Setting:
    """A worker's options and configuration, shared by the scenarios that name it: they run in turn on one worker."""

    name: str
    options: Sequence[str] = ("-E", "-c", "2")
    """Of `celery worker`; HOME in them is the session's own folder."""
    ours: Sequence[str] = ()
    """Options that only our worker is given: for what is off by default there."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    backend: Literal["redis", "rpc", "database"] | None = "redis"
    queue: str = "celery"
    """A queue that it consumes: how it is seen to be ready."""
    described: bool = False
    """Whether its declarations, statistics and queues are compared when it has started."""
    answers: bool = True
    """Whether it answers remote control."""
    event_exchange: str = "celeryev"
    task_events: bool = True
    """Whether it sends events of tasks, so that a scenario can wait for them."""
    prepare: Callable[[Session], None] | None = None
    """Runs before the worker starts."""


@dataclass(frozen=True)
class Scenario:
    name: str
    setting: Setting
    function: Callable[[Session], None]

    @property
    def about(self) -> str:
        return (self.function.__doc__ or "").strip().splitlines()[0]


TABLE: list[Scenario] = []


def scenario(setting: Setting) -> Callable[[Callable[[Session], None]], Callable[[Session], None]]:
    """Adds a function to the table, as MODULE.FUNCTION."""

    def add(function: Callable[[Session], None]) -> Callable[[Session], None]:
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        TABLE.append(Scenario(name, setting, function))
        return function

    return add


def chosen(patterns: Sequence[str]) -> list[Scenario]:
    """Those that any pattern fits, by scenario or by setting; all without a pattern."""
    from . import scenarios

    scenarios.load()
    if not patterns:
        return TABLE
    return [
        each
        for each in TABLE
        if any(
            fnmatch.fnmatch(each.name, pattern) or fnmatch.fnmatch(each.setting.name, pattern) for pattern in patterns
        )
    ]
