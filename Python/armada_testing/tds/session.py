"""One session of the server: what a client's statements do, on a SQLite connection of its own."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import tokens
from .dialect import Statement, Translated, Translator, declared_type, statements
from .errors import SQLError, translated
from .types import SQLType, of_value
from .wire import Wire

_VERSION = "Microsoft SQL Server 2019 - 15.0 (armada-testing)"
_LOCK_POLL = 0.02


class Cancelled(Exception):
    """The client has sent an attention."""


class Session:
    def __init__(self, number: int, path: str, database: str, wire: Wire, row_sent: Callable[[int], None]) -> None:
        self.transactions = 0
        self._number = number
        self._database = database
        self._wire = wire
        self._row_sent = row_sent
        self._rows = 0
        self._lock_timeout = -1.0
        self._types: Mapping[str, SQLType] = {}
        self._values: Mapping[str, Any] = {}
        self._store = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
        self._store.execute("PRAGMA foreign_keys = ON")
        self._store.create_function("datalength", 1, lambda value: None if value is None else len(value))

    def close(self) -> None:
        self._store.close()

    # Running

    def run(
        self, batch: str, values: Mapping[str, Any], types: Mapping[str, SQLType], *, of_procedure: bool = False
    ) -> None:
        """Runs a batch and writes its response, to the last token."""
        self._types, self._values = types, values
        status, rows = 0, 0
        pending: bytes | None = None
        try:
            for statement in statements(batch):
                if pending is not None:
                    self._wire.send(pending)
                try:
                    count = self._statement(statement)
                except sqlite3.Error as error:
                    raise self._located(translated(error), statement) from error
                except SQLError as error:
                    raise self._located(error, statement) from None
                more = tokens.DONE_MORE
                pending = tokens.done(more | (tokens.DONE_COUNT if count is not None else 0), count or 0)
                rows = count if count is not None else rows
                status = tokens.DONE_COUNT if count is not None else 0
        except SQLError as error:
            self._wire.send(tokens.message(error))
            status, rows = tokens.DONE_ERROR, 0
            if error.severity >= 16 and self.transactions and error.number == 1205:
                self.rollback()
        except Cancelled:
            status, rows = tokens.DONE_ATTENTION, 0
        if of_procedure and status != tokens.DONE_ATTENTION:
            self._wire.send(tokens.return_status(0) + tokens.done(status, rows, of_procedure=True))
        else:
            self._wire.send(tokens.done(status, rows))
        self._wire.finish()

    @staticmethod
    def _located(error: SQLError, statement: Statement) -> SQLError:
        error.line = error.line or statement.line
        return error

    def _statement(self, statement: Statement) -> int | None:
        """Runs one; the number of its rows, where it has any."""
        first = statement.tokens[0].word
        kinds: dict[str, Callable[[Statement], None]] = {
            "SET": self._set,
            "USE": self._use,
            "PRINT": lambda it: self._wire.send(tokens.message(SQLError(0, it.text_at(1), severity=0, line=it.line))),
            "RAISERROR": self._raiserror,
            "THROW": self._throw,
            "WAITFOR": lambda it: self._wait_for(it.text_at(2)),
        }
        special = kinds.get(first)
        if special is not None:
            special(statement)
            return None
        words = [token.word or token.text for token in statement.tokens]
        if first == "BEGIN" and words[1:2] and words[1].startswith("TRAN"):
            self.begin()
        elif first == "COMMIT":
            self.commit(statement)
        elif first == "ROLLBACK":
            self.rollback(statement)
        elif words[:4] == ["IF", "@@TRANCOUNT", ">", "0"]:
            return self._statement(Statement(statement.tokens[4:])) if self.transactions else None
        else:
            return self._query(statement)
        return None

    def _query(self, statement: Statement) -> int:
        translator = Translator(self._variable, self._columns, self._system)
        translation = translator.translate(statement)
        cursor = self._execute(translation.sql)
        if cursor.description is None:
            self._rows = max(cursor.rowcount, 0)
            return self._rows
        return self._send_rows(cursor, translation)

    def _execute(self, sql: str) -> sqlite3.Cursor:
        used = {name: value for name, value in self._values.items() if re.search(rf"@{name}\b", sql)}
        deadline = time.monotonic() + self._lock_timeout if self._lock_timeout >= 0 else None
        while True:
            try:
                return self._store.execute(sql, used)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
            if deadline is not None and time.monotonic() > deadline:
                raise SQLError(1222, "Lock request time out period exceeded.", state=51)
            if self._wire.attention(_LOCK_POLL):
                raise Cancelled

    def _send_rows(self, cursor: sqlite3.Cursor, translation: Translated) -> int:
        names = translation.names or [column[0] for column in cursor.description]
        first = cursor.fetchone()
        known = translation.types if len(translation.types) == len(names) else [None] * len(names)
        stored = self._stored_types(translation.sql, len(names)) if None in known else [None] * len(names)
        types = [
            one or other or of_value(first[index] if first else None)
            for index, (one, other) in enumerate(zip(known, stored, strict=True))
        ]
        self._wire.send(tokens.columns(names, types))
        encoders = [kind.encode for kind in types]
        count = 0
        for row in self._from(first, cursor):
            self._wire.send(b"\xd1" + b"".join([encode(value) for encode, value in zip(encoders, row, strict=True)]))
            count += 1
            self._row_sent(count)
            if count % 256 == 0 and self._wire.attention():
                raise Cancelled
        self._rows = count
        return count

    @staticmethod
    def _from(first: Any, cursor: sqlite3.Cursor) -> Iterator[Any]:
        if first is not None:
            yield first
            yield from cursor

    def _stored_types(self, sql: str, count: int) -> list[SQLType | None]:
        """SQLite tells the declared types of a view's columns, where they are columns of tables."""
        # A view can't have parameters.
        sql = re.sub(r"@\w+", "NULL", sql)
        try:
            self._store.execute(f"CREATE TEMP VIEW described AS {sql}")
        except sqlite3.Error:
            return [None] * count
        try:
            columns = self._store.execute("PRAGMA temp.table_info(described)").fetchall()
        finally:
            self._store.execute("DROP VIEW temp.described")
        return [declared_type(column[2]) for column in columns] if len(columns) == count else [None] * count

    # What statements refer to

    def _variable(self, name: str) -> SQLType | None:
        return self._types.get(name.lstrip("@"))

    def _columns(self, table: str) -> dict[str, SQLType]:
        columns = self._store.execute(f'PRAGMA table_info("{table}")').fetchall()
        kinds = {column[1].lower(): declared_type(column[2]) for column in columns}
        return {name: kind for name, kind in kinds.items() if kind is not None}

    def _system(self, word: str) -> str | None:
        if word == "@@VERSION":
            return f"'{_VERSION}'"
        values = {"@@TRANCOUNT": self.transactions, "@@SPID": self._number, "@@ROWCOUNT": self._rows}
        if word == "SCOPE_IDENTITY":
            return "last_insert_rowid"
        return str(values[word]) if word in values else None

    # Transactions

    def begin(self) -> None:
        if self.transactions == 0:
            self._store.execute("BEGIN")
            self._wire.send(tokens.change_of_transaction(8, self._number))
        self.transactions += 1

    def commit(self, statement: Statement | None = None) -> None:
        if self.transactions == 0:
            raise SQLError(3902, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        self.transactions -= 1
        if self.transactions == 0:
            self._execute("COMMIT")
            self._wire.send(tokens.change_of_transaction(9, self._number))

    def rollback(self, statement: Statement | None = None) -> None:
        if self.transactions == 0:
            raise SQLError(3903, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        self.transactions = 0
        self._store.execute("ROLLBACK")
        self._wire.send(tokens.change_of_transaction(10, self._number))

    # Statements that are not SQLite's

    def _set(self, statement: Statement) -> None:
        if statement.tokens[1].word == "LOCK_TIMEOUT":
            text = "".join(token.text for token in statement.tokens[2:])
            self._lock_timeout = int(text) / 1000

    def _use(self, statement: Statement) -> None:
        name = statement.tokens[1].text.strip("[]")
        if name not in (self._database, "master"):
            raise SQLError(911, f"Database '{name}' does not exist. Make sure that the name is entered correctly.")
        self._wire.send(tokens.change_of_text(1, name, self._database))
        self._wire.send(tokens.message(SQLError(5701, f"Changed database context to '{name}'.", severity=0, state=2)))

    def _raiserror(self, statement: Statement) -> None:
        numbers = [int(token.text) for token in statement.tokens[3:] if token.kind == "number"]
        error = SQLError(50000, statement.text_at(2), severity=numbers[0], state=numbers[1], line=statement.line)
        if error.severity > 10:
            raise error
        self._wire.send(tokens.message(error))

    def _throw(self, statement: Statement) -> None:
        number, state = (int(statement.tokens[index].text) for index in (1, 5))
        raise SQLError(number, statement.text_at(3), state=state)

    def _wait_for(self, delay: str) -> None:
        hours, minutes, seconds = delay.split(":")
        if self._wire.attention(int(hours) * 3600 + int(minutes) * 60 + float(seconds)):
            raise Cancelled
