"""The errors of the modules."""

from __future__ import annotations

from typing import Any


class ModuleError(RuntimeError):
    """A module could not do what it was asked to.

    `kind` is a word to branch on, `details` holds what the module's documentation names; the text says what happened,
    what was expected, and what to do.
    """

    def __init__(self, kind: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.details = details or {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, self.message, self.details)


class AgentUnavailable(ModuleError):
    """No agent serves this process: it has ended, or it can't be started."""

    def __init__(self, message: str, details: dict[str, Any] | None = None, _: Any = None) -> None:
        super().__init__("unavailable", message, details)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.details)
