"""The errors of the database: each is one of pymssql's, too, where pymssql is installed."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from ._errors import ModuleError

# As pymssql sorts the server's errors.
_PROGRAMMING = frozenset({102, 207, 208, 2812, 4104})
_INTEGRITY = frozenset({515, 547, 2601, 2627})


class DatabaseError(ModuleError):
    """A call of the database has failed.

    `args` are those of pymssql's errors: the number and the text, as bytes in UTF-8. Errors that come from no server
    have the number of FreeTDS's db-library, or 0.
    """

    def __init__(self, kind: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(kind, message, details)
        self.args = (self.number, self.text.encode())

    @property
    def number(self) -> int:
        """The number of SQL Server's error."""
        return int(self.details.get("number", 0))

    @property
    def state(self) -> int:
        return int(self.details.get("state", 0))

    @property
    def severity(self) -> int:
        return int(self.details.get("severity", 0))

    @property
    def line(self) -> int:
        """The line of the query, from 1; 0 where the error has none."""
        return int(self.details.get("line", 0))

    @property
    def text(self) -> str:
        """What the server or FreeTDS says, or else what has happened."""
        return str(self.details.get("text") or self.message)

    def __str__(self) -> str:
        if self.kind != "sql":
            return self.message
        return f"{self.message} (SQL Server error {self.number}, state {self.state}, line {self.line})"

    def __reduce__(self) -> tuple[Any, ...]:
        return database_error, (self.kind, self.message, self.details)


def database_error(kind: str, message: str, details: dict[str, Any] | None = None) -> DatabaseError:
    """The error by the name that pymssql has for its kind."""
    number = (details or {}).get("number", 0)
    if kind in ("configuration", "library", "argument"):
        name = "InterfaceError"
    elif kind == "sql" and number in _PROGRAMMING:
        name = "ProgrammingError"
    elif kind == "sql" and number in _INTEGRITY:
        name = "IntegrityError"
    else:
        name = "OperationalError"
    return _class(name)(kind, message, details)


@functools.cache
def _class(name: str) -> type[DatabaseError]:
    # Imported once something has failed: a project without pymssql, or without failures, needs nothing of it.
    try:
        base = getattr(importlib.import_module("pymssql"), name)
    except ImportError:
        return type(name, (DatabaseError,), {"__module__": __name__})
    return type(name, (DatabaseError, base), {"__module__": __name__})
