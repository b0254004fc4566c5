"""The user's SQL Server, through the connections that the agent keeps for all of its workers."""

from __future__ import annotations

from typing import Any

from ._connection import call, call_async, stream, stream_async
from ._database_errors import DatabaseError, database_error
from ._errors import AgentUnavailable, ModuleError
from ._rows import converted
from ._substitution import substitute

__all__ = ["DatabaseConnector", "DatabaseError"]

Row = tuple[Any, ...]


class DatabaseConnector:
    """Runs statements on the SQL Server of `SQL_SERVER_NAME`, `SQL_SERVER_PORT`, `SQL_SERVER_DB`, `SQL_SERVER_USER` and
    `SQL_SERVER_PASSWORD`, which are looked at when the first statement is run.

    `%s` in a query takes the next of the arguments, whatever its type: `None`, `bool`, `int`, `float`, `Decimal`,
    `str`, `bytes`, `date`, `time`, `datetime`, `UUID`, and a tuple or a list of these for `IN`. Without arguments the
    query is sent as it is. Rows come as tuples, with the types that pymssql gives.

    Each call is a transaction of its own. Errors are `DatabaseError`s, and pymssql's own where it is installed:
    `OperationalError`, `ProgrammingError`, `IntegrityError`, `InterfaceError`. One object may be used by any number of
    threads and of asyncio's tasks.
    """

    enabled: int
    """0 turns every call into a `None`, and nothing is sent."""

    def __init__(self) -> None:
        self.enabled = 1

    def select_from_db(self, query: str, *args: Any) -> list[Row] | None:
        """The rows of a query. What it changes is rolled back."""
        return self._rows("database.select", query, args)

    def select_with_commit_from_db(self, query: str, *args: Any) -> list[Row] | None:
        """The rows of a statement that changes something, like `INSERT … OUTPUT`; each statement commits by itself."""
        return self._rows("database.select_with_commit", query, args)

    def post_to_db(self, query: str, *args: Any) -> None:
        """Run statements in a transaction, and commit it."""
        if not self.enabled:
            return
        try:
            call("database.post", query=_text(query, args))
        except ModuleError as error:
            raise _translated(error) from None

    async def select_from_db_async(self, query: str, *args: Any) -> list[Row] | None:
        """As `select_from_db`, from asyncio. A task that is cancelled meanwhile cancels the statement."""
        return await self._rows_async("database.select", query, args)

    async def select_with_commit_from_db_async(self, query: str, *args: Any) -> list[Row] | None:
        """As `select_with_commit_from_db`, from asyncio."""
        return await self._rows_async("database.select_with_commit", query, args)

    async def post_to_db_async(self, query: str, *args: Any) -> None:
        """As `post_to_db`, from asyncio."""
        if not self.enabled:
            return
        try:
            await call_async("database.post", query=_text(query, args))
        except ModuleError as error:
            raise _translated(error) from None

    def _rows(self, method: str, query: str, args: tuple[Any, ...]) -> list[Row] | None:
        if not self.enabled:
            return None
        kinds = None
        rows: list[Row] = []
        try:
            for part in stream(method, query=_text(query, args)):
                if kinds is None:
                    kinds = part
                elif part is not None:
                    rows += converted(kinds, part)
        except ModuleError as error:
            raise _translated(error) from None
        return rows

    async def _rows_async(self, method: str, query: str, args: tuple[Any, ...]) -> list[Row] | None:
        if not self.enabled:
            return None
        kinds = None
        rows: list[Row] = []
        try:
            async for part in stream_async(method, query=_text(query, args)):
                if kinds is None:
                    kinds = part
                elif part is not None:
                    rows += converted(kinds, part)
        except ModuleError as error:
            raise _translated(error) from None
        return rows


def _text(query: str | bytes, args: tuple[Any, ...]) -> str:
    if args:
        query = substitute(query, args)
    # Encoded even where it is text: half of a surrogate pair is refused here, as pymssql refuses it.
    return (query.encode() if isinstance(query, str) else query).decode()


def _translated(error: ModuleError) -> ModuleError:
    if isinstance(error, AgentUnavailable):
        return error
    return database_error(error.kind, error.message, error.details)
