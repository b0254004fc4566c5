"""The test server itself: three clients that know nothing of each other get the same from it."""

from __future__ import annotations

import datetime
import subprocess
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pymssql
import pytds
import pytest

from armada_testing.processes import wait_until
from armada_testing.tds import SQLServer

from .sql_values import SENT, TYPED


@pytest.fixture(scope="module")
def server() -> Iterator[SQLServer]:
    with SQLServer() as server:
        yield server


def with_pymssql(server: SQLServer, **options: Any) -> Any:
    options = {"user": server.user, "password": server.password, "database": server.database, **options}
    options = {"timeout": 20, **options}
    return pymssql.connect(server=server.host, port=str(server.port), login_timeout=10, **options)


def with_python_tds(server: SQLServer, **options: Any) -> Any:
    options = {"user": server.user, "password": server.password, "database": server.database, **options}
    options = {"timeout": 20, "validate_host": False, **options}
    return pytds.connect(dsn=server.host, port=server.port, login_timeout=10, **options)


def with_tsql(server: SQLServer, batch: str, **options: str) -> subprocess.CompletedProcess[str]:
    options = {"U": server.user, "P": server.password, "D": server.database, "H": server.host, **options}
    arguments = [part for name, value in options.items() for part in (f"-{name}", value)]
    return subprocess.run(
        ["tsql", *arguments, "-p", str(server.port), "-o", "qh", "-t", "\x1f"],
        input=f"{batch}\ngo\nexit\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def selected(connection: Any, query: str, *values: Any) -> Any:
    with connection, connection.cursor() as cursor:
        cursor.execute(query, values) if values else cursor.execute(query)
        return cursor.fetchall()


def as_tsql_prints(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, uuid.UUID):
        return str(value).upper()
    return str(value)


@pytest.mark.parametrize(("kind", "literal", "value"), TYPED, ids=[f"{kind} {text[:24]}" for kind, text, _ in TYPED])
def test_typed_literals(server: SQLServer, kind: str, literal: str, value: Any) -> None:
    query = f"SELECT CAST({literal} AS {kind}), CAST(NULL AS {kind})"
    rows = selected(with_pymssql(server), query)
    assert rows == [(value, None)]
    assert type(rows[0][0]) is type(value)
    assert [tuple(row) for row in selected(with_python_tds(server), query)] == rows
    printed = with_tsql(server, f"SELECT CAST({literal} AS {kind})").stdout.removesuffix("\n")
    if isinstance(value, (datetime.date, datetime.time)):
        # It prints them in the words of its locale, some without seconds.
        assert printed
    elif isinstance(value, float):
        assert float(printed) == pytest.approx(value, rel=1e-6)
    else:
        assert printed == as_tsql_prints(value)


@pytest.mark.parametrize(("kind", "value"), SENT, ids=[f"{kind} {str(value)[:24]}" for kind, value in SENT])
def test_values_sent(server: SQLServer, kind: str, value: Any) -> None:
    table = f"sent_{uuid.uuid4().hex}"
    with with_pymssql(server) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (id int, value {kind})")
        cursor.execute(f"INSERT INTO {table} VALUES (1, %s)", (bytearray(value) if type(value) is bytes else value,))
        connection.commit()
    with with_python_tds(server) as connection, connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} VALUES (2, %s)", (pytds.Binary(value) if type(value) is bytes else value,))
        connection.commit()
    query = f"SELECT id, value FROM {table} ORDER BY id"
    assert selected(with_pymssql(server), query) == [(1, value), (2, value)]
    assert [tuple(row) for row in selected(with_python_tds(server), query)] == [(1, value), (2, value)]


@pytest.mark.parametrize("encryption", ["off", "login", "required"])
def test_encryption(encryption: str) -> None:
    with SQLServer(encryption) as server:
        query = "SELECT N'läuft'"
        assert selected(with_pymssql(server), query) == [("läuft",)]
        options = {"cafile": str(server.certificate), "enc_login_only": encryption == "login"}
        assert selected(with_python_tds(server, **({} if encryption == "off" else options)), query) == [("läuft",)]
        assert with_tsql(server, query).stdout == "läuft\n"
        journal = server.journal
        assert journal.logins == 3
        assert journal.encrypted_logins == (0 if encryption == "off" else 3)
        assert (journal.encrypted_batches > 0) == (encryption == "required")


def test_wrong_password(server: SQLServer) -> None:
    with pytest.raises(pymssql.OperationalError, match=r"18456.*Login failed for user 'agent'"):
        with_pymssql(server, password="wrong")
    with pytest.raises(pytds.Error, match="Login failed"):
        with_python_tds(server, password="wrong")
    assert "Msg 18456" in with_tsql(server, "SELECT 1", P="wrong").stderr


def test_errors_tell_number_state_and_line(server: SQLServer) -> None:
    batch = "SELECT 1\n\nRAISERROR(N'Schluß', 16, 7)"
    connection = with_python_tds(server)
    with connection, connection.cursor() as cursor:
        with pytest.raises(pytds.Error) as caught:
            cursor.execute(batch)
            cursor.nextset()
        error = caught.value
        assert (error.number, error.state, error.severity, error.line, error.text) == (50000, 7, 16, 3, "Schluß")
    connection = with_pymssql(server)
    with connection, connection.cursor() as cursor:
        with pytest.raises(pymssql.ProgrammingError) as missing:
            cursor.execute("SELECT * FROM missing")
        assert missing.value.args[0] == 208
        # The connection serves on.
        cursor.execute("SELECT 2")
        assert cursor.fetchall() == [(2,)]
    assert "Msg 50000 (severity 16, state 7)" in with_tsql(server, batch).stderr


def test_result_sets(server: SQLServer) -> None:
    for connection in (with_pymssql(server), with_python_tds(server)):
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1 AS a; SELECT N'x' AS b WHERE 1 = 0; SELECT 2 AS c, NULL AS d")
            assert [tuple(row) for row in cursor.fetchall()] == [(1,)]
            assert cursor.nextset()
            assert (cursor.description[0][0], cursor.fetchall()) == ("b", [])
            assert cursor.nextset()
            assert [tuple(row) for row in cursor.fetchall()] == [(2, None)]


def test_transactions(server: SQLServer) -> None:
    selected(with_pymssql(server, autocommit=True), "CREATE TABLE kept (client varchar(20)); SELECT 1")
    for name, connect in [("pymssql", with_pymssql), ("python-tds", with_python_tds)]:
        connection = connect(server)
        with connection, connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO kept VALUES ('{name}')")
            connection.commit()
            cursor.execute(f"INSERT INTO kept VALUES ('{name}, rolled back')")
            connection.rollback()
            cursor.execute(f"INSERT INTO kept VALUES ('{name}, left open')")
    assert selected(with_pymssql(server), "SELECT client FROM kept") == [("pymssql",), ("python-tds",)]


def test_a_lock_that_is_not_released(server: SQLServer) -> None:
    selected(with_pymssql(server, autocommit=True), "CREATE TABLE locked (a int); SELECT 1")
    holder = with_pymssql(server)
    with holder, holder.cursor() as cursor:
        cursor.execute("INSERT INTO locked VALUES (1)")
        with pytest.raises(pymssql.OperationalError, match=r"1222.*Lock request time out"):
            selected(with_pymssql(server), "SET LOCK_TIMEOUT 50; INSERT INTO locked VALUES (2)")


def test_cancelling(server: SQLServer) -> None:
    connection = with_python_tds(server, timeout=0.3)
    with connection, connection.cursor() as cursor:
        seen = server.journal.attentions
        with pytest.raises(pytds.TimeoutError):
            cursor.execute("WAITFOR DELAY '00:01:00'")
        wait_until(lambda: server.journal.attentions == seen + 1, 10, "the statement is cancelled")
        cursor.execute("SELECT 3")
        assert [tuple(row) for row in cursor.fetchall()] == [(3,)]


def test_misbehaviour(server: SQLServer) -> None:
    server.behaviour.rows_until_cut = 2
    with pytest.raises(pymssql.OperationalError):
        selected(with_pymssql(server), "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3")
    server.behaviour.rows_until_cut = None
    server.behaviour.unanswered = "unheard"
    with pytest.raises(pymssql.OperationalError):
        selected(with_pymssql(server, timeout=1), "SELECT N'unheard'")
    server.behaviour.unanswered = None
