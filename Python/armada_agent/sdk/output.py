"""What a run's jobs hand on, in the table `armada_output` of the user's SQL Server."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from .database import DatabaseConnector

__all__ = ["StandardOutput"]

_INSERT = "INSERT INTO armada_output (run_uuid, data, timestamp) VALUES (%s, %s, %s)"


class StandardOutput:
    """Takes the results of one run."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._database = DatabaseConnector()

    def send(self, data: Mapping[str, Any]) -> None:
        """Insert `data` as JSON text, with the time of now in UTC, and commit.

        Raises `TypeError` for what JSON doesn't have, else the errors of `DatabaseConnector`.
        """
        self._database.post_to_db(_INSERT, *self._row(data))

    async def send_async(self, data: Mapping[str, Any]) -> None:
        """As `send`, from asyncio."""
        await self._database.post_to_db_async(_INSERT, *self._row(data))

    def _row(self, data: Mapping[str, Any]) -> tuple[str, str, datetime.datetime]:
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        return self.run_id, json.dumps(dict(data), ensure_ascii=False), now
