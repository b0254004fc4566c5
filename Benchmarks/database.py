"""Queries a second of `select_from_db`, beside pymssql connecting anew for each, as the documented agent does.

`python -m Benchmarks.database` prints both, at a desk and with the test server (`armada_testing.tds`) in a process of
its own, which is in Python and takes a good part of the time on either side: the ratio understates the difference. A
real server is farther away, and each of pymssql's round trips then costs what the network does.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pymssql

from armada_agent.sdk.database import DatabaseConnector
from armada_testing.agent import agent_binary
from armada_testing.processes import signals_as_exit

QUERY = "SELECT %s, N'some text', CAST(N'2024-02-29' AS date)"
SECONDS = 3.0
ROUNDS = 5


@contextlib.contextmanager
def server(encryption: str) -> Iterator[dict[str, str]]:
    command = [sys.executable, "-m", "armada_testing.tds", "--encryption", encryption]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield dict(process.stdout.readline().rstrip("\n").split("=", 1) for _ in range(5))
        process.terminate()


def with_pymssql(environment: dict[str, str]) -> Callable[[int], Any]:
    def query(number: int) -> Any:
        connection = pymssql.connect(
            server=environment["SQL_SERVER_NAME"],
            port=environment["SQL_SERVER_PORT"],
            user=environment["SQL_SERVER_USER"],
            password=environment["SQL_SERVER_PASSWORD"],
            database=environment["SQL_SERVER_DB"],
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(QUERY, (number,))
            return cursor.fetchall()

    return query


def with_agent(environment: dict[str, str]) -> Callable[[int], Any]:
    database = DatabaseConnector()
    return lambda number: database.select_from_db(QUERY, number)


def rate(query: Callable[[int], Any], callers: int) -> float:
    """Queries a second, of so many threads that each make one at a time."""
    end = time.monotonic() + SECONDS

    def caller(_: int) -> int:
        count = 0
        while time.monotonic() < end:
            assert query(count)[0][0] == count
            count += 1
        return count

    begun = time.monotonic()
    with ThreadPoolExecutor(callers) as threads:
        return sum(threads.map(caller, range(callers))) / (time.monotonic() - begun)


def measure(encryption: str, callers: int) -> None:
    """In a process of its own, since an agent at a desk keeps the environment that it has begun with."""
    with server(encryption) as environment:
        os.environ.update(environment)
        sides = {"pymssql": with_pymssql(environment), "select_from_db": with_agent(environment)}
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for query in sides.values():
            query(0)
        for _ in range(ROUNDS):
            for name, query in sides.items():
                rates[name].append(rate(query, callers))
    theirs, ours = (statistics.median(rates[name]) for name in sides)
    print(
        f"encryption {encryption}, {callers} at a time: pymssql {theirs:.0f}/s, select_from_db {ours:.0f}/s,"
        f" {ours / theirs:.1f} times",
        flush=True,
    )


def main(arguments: list[str]) -> None:
    os.environ.setdefault("AGENT_BINARY", str(agent_binary()))
    if arguments:
        with signals_as_exit():
            measure(arguments[0], int(arguments[1]))
        return
    for encryption in ("off", "login", "required"):
        for callers in ("1", "8"):
            subprocess.run([sys.executable, "-m", "Benchmarks.database", encryption, callers], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
