"""The database as a project's code uses it, in a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from armada_testing.processes import wait_until
from armada_testing.tds import SQLServer

from .conftest import Run
from .test_database import with_pymssql

PROJECT = """
from src.database_connector import DatabaseConnector
from src.standard_output import StandardOutput

database = DatabaseConnector()


@app.task(name="tasks.consume_message", acks_late=True, queue=agent_message["run_id"])
def consume_message(job_message):
    [(price,)] = database.select_from_db("SELECT price FROM prices WHERE id = %s", job_message["n"] % 2)
    StandardOutput(agent_message["run_id"]).send({"n": job_message["n"], "price": str(price)})
"""


@pytest.fixture
def project_code() -> str:
    return PROJECT


@pytest.fixture
def server() -> Iterator[SQLServer]:
    with SQLServer() as server:
        tables = """
            CREATE TABLE prices (id int, price decimal(10, 2));
            CREATE TABLE armada_output (run_uuid nvarchar(64), data nvarchar(max), timestamp datetime2);
            INSERT INTO prices VALUES (0, 9.90), (1, 12.50)
        """
        with_pymssql(server, tables, commit=True)
        yield server


def test_workers_share_the_connections(run: Run, server: SQLServer, ours: None) -> None:
    environment = {**server.environment, "AGENT_SQL_CONNECTIONS": "2"}
    before = server.journal.logins
    agent = run.agent(environment=environment, concurrency=4)
    for number in range(20):
        run.dispatch(number)
    run.wait_empty()

    def outputs() -> list[tuple[str, str]]:
        rows: list[tuple[str, str]] = with_pymssql(server, "SELECT run_uuid, data FROM armada_output")
        return rows

    assert server.journal.logins - before <= 2
    wait_until(lambda: len(outputs()) == 20, 10, "all jobs have sent their output")
    expected = [f'{{"n": {number}, "price": "{("9.90", "12.50")[number % 2]}"}}' for number in range(20)]
    assert sorted(outputs()) == sorted((run.run_id, data) for data in expected)
    assert agent.warm() == 0
    # An agent that ends takes leave of the server.
    wait_until(lambda: server.open_connections == 0, 10, "the connections are closed")
