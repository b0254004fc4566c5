"""Why the user's code can't be run."""

from __future__ import annotations


class LoadError(Exception):
    """The user's code can't be run: what kind of error, one message, and the traceback of the user's own lines.

    The kind is `syntax_error`, `import_error`, `exception`, `system_exit`; `invalid` for a configuration that can't be
    worked with, and `usage` for a wrong command line.
    """

    def __init__(self, kind: str, message: str, text: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.text = text
