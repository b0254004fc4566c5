"""The database at a desk: the real program, and beside it pymssql, with the same server."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pymssql
import pytest
from pymssql import _mssql

from armada_agent.sdk._substitution import substitute
from armada_agent.sdk.database import DatabaseConnector, DatabaseError
from armada_agent.sdk.output import StandardOutput
from armada_testing import REPOSITORY
from armada_testing.desk import forget_agent
from armada_testing.processes import wait_until
from armada_testing.procfs import descendants
from armada_testing.tds import SQLServer

from .sql_values import SENT, TEXT, TYPED

LIMITED = {"AGENT_SQL_CONNECT_TIMEOUT": "1", "AGENT_SQL_QUERY_TIMEOUT": "1", "AGENT_SQL_CONNECTIONS": "1"}


class Desk:
    """A script at a desk; its agent ends with it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def use(self, server: SQLServer, **environment: str) -> DatabaseConnector:
        """The next call starts an agent of its own, that knows this server."""
        for name, value in {**server.environment, **environment}.items():
            self._monkeypatch.setenv(name, value)
        forget_agent()
        return DatabaseConnector()

    @staticmethod
    def agent_pid() -> int:
        def command(pid: int) -> bytes:
            try:
                return Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                return b""

        return next(pid for pid in reversed(descendants(os.getpid())) if b"\0modules\0" in command(pid))


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    yield Desk(monkeypatch)
    forget_agent()


@pytest.fixture(scope="module")
def module_server() -> Iterator[SQLServer]:
    with SQLServer() as server:
        yield server


@pytest.fixture(scope="module")
def shared(module_server: SQLServer) -> Iterator[DatabaseConnector]:
    """For tests that leave nothing behind: one agent for all of them."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield Desk(monkeypatch).use(module_server)
    forget_agent()


@pytest.fixture
def server() -> Iterator[SQLServer]:
    with SQLServer() as server:
        yield server


def waits(server: SQLServer) -> bool:
    """Whether a statement that takes its time has come."""
    return any("WAITFOR" in batch for batch in server.journal.batches)


def with_pymssql(server: SQLServer, query: str, *values: Any, commit: bool = False) -> Any:
    connection = pymssql.connect(
        server=server.host, port=str(server.port), user=server.user, password=server.password, database=server.database
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(query, values) if values else cursor.execute(query)
        if commit:
            connection.commit()
            return None
        return cursor.fetchall()


class TestValues:
    @pytest.mark.parametrize(("kind", "literal", "value"), TYPED, ids=[f"{kind} {text[:9]}" for kind, text, _ in TYPED])
    def test_as_pymssql_reads_them(
        self, module_server: SQLServer, shared: DatabaseConnector, kind: str, literal: str, value: Any
    ) -> None:
        query = f"SELECT CAST({literal} AS {kind}), CAST(NULL AS {kind})"
        ours, theirs = shared.select_from_db(query), with_pymssql(module_server, query)
        assert ours == theirs == [(value, None)]
        # Also the digits of a Decimal, the class of an int, the zone of a time.
        assert repr(ours) == repr(theirs)

    @pytest.mark.parametrize(("kind", "value"), SENT, ids=[f"{kind} {str(value)[:9]}" for kind, value in SENT])
    def test_as_pymssql_sends_them(
        self, module_server: SQLServer, shared: DatabaseConnector, kind: str, value: Any
    ) -> None:
        table = f"sent_{uuid.uuid4().hex}"
        if type(value) is bytes:
            value = bytearray(value)
        shared.post_to_db(f"CREATE TABLE {table} (value {kind})")
        insert = f"INSERT INTO {table} VALUES (%s)"
        batches = module_server.journal.batches
        shared.post_to_db(insert, value)
        ours = [batch for batch in batches if batch.startswith("INSERT")][-1]
        with_pymssql(module_server, insert, value, commit=True)
        assert [batch for batch in batches if batch.startswith("INSERT")][-1] == ours
        assert shared.select_from_db(f"SELECT value FROM {table}") == [(value,), (value,)]

    def test_lists(self, shared: DatabaseConnector) -> None:
        shared.post_to_db("CREATE TABLE listed (a int, b nvarchar(20))")
        shared.post_to_db("INSERT INTO listed VALUES (%s, %s), (%s, %s)", 1, "één", 2, "'; DROP TABLE listed --")
        query = "SELECT a FROM listed WHERE a IN %s AND b IN %s"
        assert shared.select_from_db(query, (1, 2, 3), ["één", "zwei"]) == [(1,)]
        assert shared.select_from_db("SELECT a FROM listed WHERE b = %s", "'; DROP TABLE listed --") == [(2,)]

    def test_a_query_without_values_is_sent_as_it_is(self, shared: DatabaseConnector) -> None:
        assert shared.select_from_db("SELECT N'100%s', N'%d' WHERE N'abc' LIKE N'%c'") == [("100%s", "%d")]

    def test_no_rows_and_no_columns(self, shared: DatabaseConnector) -> None:
        assert shared.select_from_db("SELECT 1 AS a WHERE 1 = 0") == []
        with pytest.raises(pymssql.OperationalError, match="no result set"):
            shared.select_from_db("PRINT 'nothing'")

    def test_the_first_result_set(self, shared: DatabaseConnector) -> None:
        assert shared.select_from_db("PRINT 'x'; SELECT 1 UNION ALL SELECT 2; SELECT N'other'") == [(1,), (2,)]


class TestSubstitution:
    VALUES: tuple[Any, ...] = (
        None,
        True,
        False,
        0,
        -1,
        1 << 200,
        0.1,
        1e300,
        -0.0,
        float("inf"),
        float("nan"),
        decimal.Decimal("1.10"),
        decimal.Decimal("1E-18"),
        decimal.Decimal("-1E+20"),
        decimal.Decimal("1E-40"),
        decimal.Decimal("NaN"),
        "",
        TEXT,
        "''",
        "%s %d %(a)s",
        "\0\n\\",
        b"",
        b"it's",
        b"\0",
        b"\xff\x00",
        bytearray(b"abc"),
        datetime.date(1, 2, 3),
        datetime.time(1, 2, 3, 4),
        datetime.time(23, 59, 59, 999999, datetime.timezone.utc),
        datetime.datetime(999, 1, 2, 3, 4, 5, 999999),
        datetime.datetime(2024, 2, 29, 3, 4, 5, 123456, datetime.timezone.utc),
        datetime.datetime(2024, 2, 29, 3, 4, 5, 1, datetime.timezone(datetime.timedelta(hours=-3, minutes=-30))),
        datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone(datetime.timedelta(hours=1), "CEST")),
        pymssql.datetime2(2024, 2, 29, 3, 4, 5, 123456),
        uuid.UUID(int=5),
        (),
        (1, "b", None),
        [decimal.Decimal(1), b"x"],
    )
    QUERIES = (
        "",
        "SELECT %s",
        "SELECT %d, N'%', %%s, %x, %",
        "SELECT %s%s -- %s",
        "SELECT N'größe' WHERE a = %s AND b IN %s",
        "%(a)s",
    )

    def test_is_pymssqls(self) -> None:
        random.seed(4)
        for value in self.VALUES:
            assert substitute("%s", (value,)) == _mssql.substitute_params("%s", (value,))
            assert substitute("%(a)s %(b)d %s", {"a": value, "b": 1}) == _mssql.substitute_params(
                "%(a)s %(b)d %s", {"a": value, "b": 1}
            )
        for query in self.QUERIES:
            for _ in range(200):
                values = tuple(random.choices(self.VALUES, k=random.randrange(5)))
                assert self.result(substitute, query, values) == self.result(_mssql.substitute_params, query, values)
                assert self.result(substitute, query.encode(), values) == self.result(
                    _mssql.substitute_params, query.encode(), values
                )

    @pytest.mark.parametrize("value", [object(), {1}, {"a": 1}, 1j, ((1,),), datetime.timedelta(1)])
    def test_what_can_not_be_sent(self, value: Any) -> None:
        with pytest.raises(ValueError, match="Unsupported parameter type"):
            substitute("%s", (value,))

    @staticmethod
    def result(function: Any, query: Any, values: Any) -> Any:
        try:
            return function(query, values)
        except ValueError as error:
            return str(error)


class TestCalls:
    def test_what_each_commits(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server)
        database.post_to_db("CREATE TABLE kept (a int)")
        insert = "INSERT INTO kept OUTPUT inserted.a VALUES (%s)"
        assert database.select_from_db(insert, 1) == [(1,)]
        assert database.select_with_commit_from_db(insert, 2) == [(2,)]
        database.post_to_db(insert, 3)
        database.post_to_db("INSERT INTO kept VALUES (4); SELECT 1; INSERT INTO kept VALUES (5)")
        assert database.select_from_db("SELECT a FROM kept ORDER BY a") == [(2,), (3,), (4,), (5,)]
        # Also with a transaction of the user's own that is left open.
        database.post_to_db("BEGIN TRAN; INSERT INTO kept VALUES (6)")
        assert database.select_from_db("SELECT a FROM kept WHERE a = 6") == []

    def test_one_that_fails_changes_nothing(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server)
        database.post_to_db("CREATE TABLE kept (a int)")
        with pytest.raises(pymssql.OperationalError):
            database.post_to_db("INSERT INTO kept VALUES (1); RAISERROR('no', 16, 1)")
        assert database.select_from_db("SELECT a FROM kept") == []

    def test_disabled(self, desk: Desk, server: SQLServer) -> None:
        database = desk.use(server)
        database.enabled = 0
        assert database.select_from_db("SELECT 1") is None
        assert database.select_with_commit_from_db("SELECT 1") is None
        database.post_to_db("SELECT 1")
        assert asyncio.run(database.select_from_db_async("SELECT 1")) is None
        assert server.journal.logins == 0

    def test_from_asyncio(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server)

        async def calls() -> Any:
            await database.post_to_db_async("CREATE TABLE counted (a int)")
            insert = "INSERT INTO counted OUTPUT inserted.a VALUES (%s)"
            await asyncio.gather(*[database.select_with_commit_from_db_async(insert, n) for n in range(3)])
            return await asyncio.gather(
                *[database.select_from_db_async("SELECT COUNT(*), %s FROM counted", n) for n in range(30)]
            )

        assert asyncio.run(calls()) == [[(3, number)] for number in range(30)]
        assert server.journal.logins <= 8

    def test_from_a_forked_process(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server)
        assert database.select_from_db("SELECT 1") == [(1,)]
        pid = os.fork()
        if pid == 0:
            os._exit(0 if database.select_from_db("SELECT 2") == [(2,)] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert server.journal.logins == 1

    def test_output(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server)
        database.post_to_db(
            "CREATE TABLE armada_output (run_uuid nvarchar(64), data nvarchar(max), timestamp datetime)"
        )
        before = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        StandardOutput("run 'ü'").send({"größe": 1.5, "list": [None, True], "text": TEXT})
        asyncio.run(StandardOutput("run 2").send_async({}))
        rows = database.select_from_db("SELECT run_uuid, data, timestamp FROM armada_output ORDER BY run_uuid")
        assert rows is not None
        assert [row[0] for row in rows] == ["run 'ü'", "run 2"]
        assert rows[0][1] == f'{{"größe": 1.5, "list": [null, true], "text": "{TEXT}"}}'
        assert abs(rows[0][2] - before) < datetime.timedelta(seconds=30)
        with pytest.raises(TypeError):
            StandardOutput("run").send({"a": object()})


class TestPool:
    def test_is_shared_and_bounded(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server, AGENT_SQL_CONNECTIONS="3")
        with ThreadPoolExecutor(16) as threads:
            results = list(threads.map(lambda n: database.select_from_db("SELECT %s", n), range(200)))
        assert results == [[(number,)] for number in range(200)]
        assert server.journal.logins <= 3

    def test_exhausted(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server, AGENT_SQL_CONNECTIONS="1", AGENT_SQL_CONNECT_TIMEOUT="1")
        held = threading.Thread(target=database.post_to_db, args=["WAITFOR DELAY '00:00:02'"])
        held.start()
        wait_until(lambda: waits(server), 10, "the statement runs")
        with pytest.raises(DatabaseError, match=r"all 1 connections .* AGENT_SQL_CONNECTIONS") as caught:
            database.select_from_db("SELECT 1")
        assert caught.value.kind == "exhausted"
        held.join()
        assert database.select_from_db("SELECT 1") == [(1,)]

    def test_as_many_as_it_may(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server, AGENT_SQL_CONNECTIONS="40")
        server.behaviour.unanswered = "held"
        with ThreadPoolExecutor(40) as threads:
            calls = [threads.submit(database.select_from_db, "SELECT N'held'") for _ in range(40)]
            wait_until(lambda: server.journal.batches.count("SELECT N'held'") == 40, 20, "40 statements run")
            server.behaviour.unanswered = None
            server.cut()
        assert all(isinstance(call.exception(), pymssql.OperationalError) for call in calls)
        assert server.journal.logins == 40

    def test_idle_connections_are_closed(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server, AGENT_SQL_IDLE_TIMEOUT="1")
        assert database.select_from_db("SELECT 1") == [(1,)]
        wait_until(lambda: server.open_connections == 0, 20, "the connection is closed")
        assert database.select_from_db("SELECT 2") == [(2,)]
        assert server.journal.logins == 2

    def test_an_idle_connection_that_broke_is_replaced(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server)
        for method in (database.select_from_db, database.select_with_commit_from_db):
            assert method("SELECT 1") == [(1,)]
            server.cut()
            wait_until(lambda: server.open_connections == 0, 10, "the connections are cut")
            assert method("SELECT 2") == [(2,)]
        server.stop()
        server.start()
        database.post_to_db("CREATE TABLE after_all (a int)")
        assert server.journal.batches.count("CREATE TABLE after_all (a int)") == 1

    def test_a_connection_that_breaks_as_a_transaction_begins_is_replaced(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server)
        assert database.select_from_db("SELECT 1") == [(1,)]
        server.behaviour.batches_until_cut = 0
        assert database.select_from_db("SELECT 2") == [(2,)]
        assert server.journal.logins == 2

    def test_a_statement_that_was_sent_is_not_sent_again(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server)
        assert database.select_from_db("SELECT 1") == [(1,)]
        server.behaviour.batches_until_cut = 1
        with pytest.raises(pymssql.OperationalError):
            database.select_from_db("SELECT 2")
        assert server.journal.batches.count("SELECT 2") == 1
        assert database.select_from_db("SELECT 3") == [(3,)]

    def test_a_commit_whose_answer_is_lost(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server)
        database.post_to_db("CREATE TABLE kept (a int)")
        server.behaviour.batches_until_cut = 2
        with pytest.raises(pymssql.OperationalError, match="not known"):
            database.post_to_db("INSERT INTO kept VALUES (1)")

    def test_nothing_of_a_session_is_left_for_the_next(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server, AGENT_SQL_CONNECTIONS="1")
        database.post_to_db("CREATE TABLE #mine (a int)")
        with pytest.raises(pymssql.ProgrammingError, match="#mine"):
            database.select_from_db("SELECT * FROM #mine")


class TestFailures:
    def test_the_servers_words(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server)
        for query, kind in [
            ("PRINT 'a';\n\nTHROW 51000, N'Schluß, 終わり', 7", pymssql.OperationalError),
            ("SELECT * FROM missing", pymssql.ProgrammingError),
            ("SELECT FROM WHERE", pymssql.ProgrammingError),
        ]:
            with pytest.raises(kind) as theirs:
                with_pymssql(server, query)
            with pytest.raises(kind) as ours:
                database.select_from_db(query)
            assert isinstance(ours.value, DatabaseError)
            assert ours.value.args[0] == theirs.value.args[0]
            assert theirs.value.args[1].startswith(ours.value.args[1])
        with pytest.raises(DatabaseError) as caught:
            database.select_from_db("SELECT 1;\n\nTHROW 51000, N'Schluß, 終わり', 7")
        error = caught.value
        assert (error.number, error.state, error.severity, error.line) == (51000, 7, 16, 3)
        assert error.text == "Schluß, 終わり"
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), again.args, again.details) == (type(error), error.args, error.details)
        # One connection has outlived them all.
        assert database.select_from_db("SELECT 1") == [(1,)]

    def test_constraints(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server)
        database.post_to_db("CREATE TABLE keyed (id int PRIMARY KEY, a int NOT NULL)")
        database.post_to_db("INSERT INTO keyed VALUES (1, 1)")
        with pytest.raises(pymssql.IntegrityError) as caught:
            database.post_to_db("INSERT INTO keyed VALUES (1, 1)")
        assert caught.value.args[0] == 2627
        with pytest.raises(pymssql.IntegrityError):
            database.post_to_db("INSERT INTO keyed VALUES (2, NULL)")

    def test_wrong_password(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server, SQL_SERVER_PASSWORD="wrong-secret")
        with pytest.raises(pymssql.OperationalError, match="Login failed for user 'agent'") as caught:
            database.select_from_db("SELECT 1")
        assert caught.value.args[0] == 18456
        assert "wrong-secret" not in repr(caught.value)

    def test_unknown_database(self, server: SQLServer, desk: Desk) -> None:
        with pytest.raises(pymssql.OperationalError) as caught:
            desk.use(server, SQL_SERVER_DB="nowhere").select_from_db("SELECT 1")
        assert caught.value.args[0] in (4060, 18456)

    def test_no_server(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server)
        server.stop()
        with pytest.raises(pymssql.OperationalError, match="Connection refused") as caught:
            database.select_from_db("SELECT 1")
        assert caught.value.args[0] == 20009
        server.start()
        assert database.select_from_db("SELECT 1") == [(1,)]

    def test_a_server_that_says_nothing(self, server: SQLServer, desk: Desk) -> None:
        server.behaviour.silent = True
        with pytest.raises(pymssql.OperationalError) as caught:
            desk.use(server, AGENT_SQL_CONNECT_TIMEOUT="1").select_from_db("SELECT 1")
        assert caught.value.args[0] == 20003

    @pytest.mark.parametrize("variable", ["NAME", "DB", "USER", "PASSWORD"])
    def test_missing_credentials(self, server: SQLServer, desk: Desk, variable: str) -> None:
        with pytest.raises(pymssql.InterfaceError, match=f"SQL_SERVER_{variable}: found nothing"):
            desk.use(server, **{f"SQL_SERVER_{variable}": ""}).select_from_db("SELECT 1")

    def test_time_limit(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server, **LIMITED)
        with pytest.raises(pymssql.OperationalError, match="AGENT_SQL_QUERY_TIMEOUT") as caught:
            database.select_from_db("WAITFOR DELAY '00:01:00'")
        assert caught.value.args[0] == 20003
        assert server.journal.attentions == 1
        assert database.select_from_db("SELECT 1") == [(1,)]
        assert server.journal.logins == 1

    def test_time_limit_between_rows(self, server: SQLServer, desk: Desk) -> None:
        server.behaviour.row_delay = 0.2
        database = desk.use(server, **LIMITED)
        rows = " UNION ALL ".join(["SELECT 1"] * 100)
        with pytest.raises(pymssql.OperationalError, match="AGENT_SQL_QUERY_TIMEOUT"):
            database.select_from_db(rows)
        server.behaviour.row_delay = 0
        assert database.select_from_db("SELECT 1") == [(1,)]

    def test_a_statement_that_is_never_answered(self, server: SQLServer, desk: Desk) -> None:
        server.behaviour.unanswered = "unheard"
        database = desk.use(server, **LIMITED)
        with pytest.raises(pymssql.OperationalError, match="AGENT_SQL_QUERY_TIMEOUT"):
            database.select_from_db("SELECT N'unheard'")
        # The attention was not answered either, so the connection was given up.
        assert database.select_from_db("SELECT 1") == [(1,)]
        assert server.journal.logins == 2

    def test_cut_in_the_middle_of_rows(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server)
        server.behaviour.rows_until_cut = 2
        with pytest.raises(pymssql.OperationalError):
            database.select_from_db("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3")
        server.behaviour.rows_until_cut = None
        assert database.select_from_db("SELECT 4") == [(4,)]

    def test_a_lock(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server, AGENT_SQL_QUERY_TIMEOUT="1")
        database.post_to_db("CREATE TABLE locked (a int)")
        holder = pymssql.connect(
            server=server.host, port=str(server.port), user=server.user, password=server.password, database="armada"
        )
        with holder, holder.cursor() as cursor:
            cursor.execute("INSERT INTO locked VALUES (1)")
            with pytest.raises(pymssql.OperationalError) as caught:
                database.post_to_db("SET LOCK_TIMEOUT 50; INSERT INTO locked VALUES (2)")
            assert caught.value.args[0] == 1222
            with pytest.raises(pymssql.OperationalError, match="AGENT_SQL_QUERY_TIMEOUT"):
                database.post_to_db("INSERT INTO locked VALUES (3)")
            holder.rollback()
        database.post_to_db("INSERT INTO locked VALUES (4)")
        assert database.select_from_db("SELECT a FROM locked") == [(4,)]

    def test_a_caller_that_is_killed(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server, AGENT_SQL_CONNECTIONS="1")
        database.post_to_db("CREATE TABLE kept (a int)")
        pid = os.fork()
        if pid == 0:
            database.post_to_db("INSERT INTO kept VALUES (1); WAITFOR DELAY '00:01:00'")
            os._exit(1)
        wait_until(lambda: waits(server), 10, "the statement runs")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        # The one connection is there again: what ran is cancelled and rolled back.
        assert database.select_from_db("SELECT a FROM kept") == []
        assert (server.journal.attentions, server.journal.logins) == (1, 1)

    def test_a_task_that_is_cancelled(self, server: SQLServer, desk: Desk) -> None:
        database = desk.use(server, AGENT_SQL_CONNECTIONS="1")

        async def calls() -> Any:
            call = asyncio.ensure_future(database.select_from_db_async("WAITFOR DELAY '00:01:00'"))
            await asyncio.to_thread(wait_until, lambda: waits(server), 10, "the statement runs")
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            return await database.select_from_db_async("SELECT 1")

        assert asyncio.run(calls()) == [(1,)]
        assert server.journal.logins == 1


@pytest.mark.parametrize("encryption", ["login", "required"])
def test_encryption_as_the_server_demands(desk: Desk, encryption: str) -> None:
    with SQLServer(encryption) as server:
        database = desk.use(server)
        assert database.select_from_db("SELECT %s", TEXT) == [(TEXT,)]
        assert server.journal.encrypted_logins == 1
        assert (server.journal.encrypted_batches > 0) == (encryption == "required")
        server.cut()
        wait_until(lambda: server.open_connections == 0, 10, "the connections are cut")
        assert database.select_from_db("SELECT N'again'") == [("again",)]


def test_a_million_rows_in_bounded_memory(server: SQLServer, desk: Desk) -> None:
    """The rows go through the agent, which never holds more than a few parts of them."""
    database = desk.use(server)
    assert database.select_from_db("SELECT 1") == [(1,)]
    status = Path(f"/proc/{desk.agent_pid()}/status")

    def peak() -> int:
        """In KiB."""
        return int(status.read_text().partition("VmHWM:")[2].split()[0])

    before = peak()
    query = """
        WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
        SELECT i, N'a text of some length, that is sent a million times' FROM n
    """
    rows = database.select_from_db(query)
    assert rows is not None
    assert len(rows) == 1_000_000
    assert [row[0] for row in rows] == list(range(1, 1_000_001))
    # The rows are more than 100 MiB on the wire.
    assert peak() - before < 8 << 10


def test_without_pymssql(server: SQLServer) -> None:
    """The SDK needs none; its errors are then of the same names."""
    code = """
import sys
sys.modules["pymssql"] = None
from src.database_connector import DatabaseConnector
from armada_agent.sdk.database import DatabaseError
try:
    DatabaseConnector().select_from_db("SELECT * FROM missing")
except DatabaseError as error:
    print(type(error).__name__, error.number, error.text)
"""
    environment = {**os.environ, **server.environment, "PYTHONPATH": str(REPOSITORY / "Python")}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("ProgrammingError 208 Invalid object name 'missing'.\n", "")
