"""Statements on a SQL Server, at a desk: with `SQL_SERVER_NAME` and the others set, `python visits.py`.

Without a SQL Server, `PYTHONPATH=Python python -m armada_testing.tds` starts a small one, and prints the variables.
"""

from __future__ import annotations

import asyncio
import datetime
from decimal import Decimal

from armada_agent.sdk.database import DatabaseConnector, DatabaseError
from armada_agent.sdk.output import StandardOutput


def main() -> None:
    database = DatabaseConnector()
    database.post_to_db(
        "CREATE TABLE visits (id int IDENTITY PRIMARY KEY, city nvarchar(50), price decimal(10, 2), day date);"
        "CREATE TABLE armada_output (run_uuid nvarchar(64), data nvarchar(max), timestamp datetime2)"
    )
    for city, price in [("München", "9.90"), ("Αθήνα", "12.50"), ("東京", "0.05")]:
        rows = database.select_with_commit_from_db(
            "INSERT INTO visits (city, price, day) OUTPUT inserted.id VALUES (%s, %s, %s)",
            city,
            Decimal(price),
            datetime.date(2024, 2, 29),
        )
        print("inserted", rows)

    print(database.select_from_db("SELECT city, price, day FROM visits WHERE city IN %s", ("東京", "Αθήνα")))
    print(asyncio.run(counted(database)))

    StandardOutput("run").send({"visits": 3, "best": "東京"})
    print(database.select_from_db("SELECT data FROM armada_output"))

    try:
        database.select_from_db("SELECT name FROM visits")
    except DatabaseError as error:
        print(error)


async def counted(database: DatabaseConnector) -> object:
    """Many statements at a time share the agent's connections."""
    queries = [database.select_from_db_async("SELECT COUNT(*) FROM visits WHERE id <= %s", n) for n in range(4)]
    return await asyncio.gather(*queries)


if __name__ == "__main__":
    main()
