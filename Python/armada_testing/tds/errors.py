"""What the server answers a statement with that it can't run: SQL Server's numbers and texts for SQLite's errors."""

from __future__ import annotations

import re
import sqlite3


class SQLError(Exception):
    """A message of the server; severities from 11 on are errors."""

    def __init__(self, number: int, text: str, *, severity: int = 16, state: int = 1, line: int = 0) -> None:
        super().__init__(text)
        self.number = number
        self.text = text
        self.severity = severity
        self.state = state
        self.line = line


_KNOWN: list[tuple[str, int, str, int, int]] = [
    (r"no such table: (?:main\.)?(.*)", 208, "Invalid object name '{0}'.", 16, 1),
    (r"no such column: (.*)", 207, "Invalid column name '{0}'.", 16, 1),
    (r"table .* has no column named (.*)", 207, "Invalid column name '{0}'.", 16, 1),
    (r'near "(.*)": syntax error', 102, "Incorrect syntax near '{0}'.", 15, 1),
    (r"incomplete input", 102, "Incorrect syntax near the end of the batch.", 15, 1),
    (r"no such function: (.*)", 195, "'{0}' is not a recognized built-in function name.", 15, 10),
    (r"UNIQUE constraint failed: (.*)", 2627, "Violation of PRIMARY KEY constraint '{0}'.", 14, 1),
    (
        r"NOT NULL constraint failed: (.*)",
        515,
        "Cannot insert the value NULL into column '{0}'; column does not allow nulls. INSERT fails.",
        16,
        2,
    ),
    (r"FOREIGN KEY constraint failed", 547, "The statement conflicted with a FOREIGN KEY constraint.", 16, 0),
    (r"table (\S+) already exists", 2714, "There is already an object named '{0}' in the database.", 16, 6),
]


def translated(error: sqlite3.Error) -> SQLError:
    message = str(error)
    for pattern, number, text, severity, state in _KNOWN:
        match = re.fullmatch(pattern, message)
        if match:
            return SQLError(number, text.format(*match.groups()), severity=severity, state=state)
    return SQLError(50000, message)
