"""Rows of a result: what marshal has comes as it is, the rest in a plain form with a letter for each column.

The letters are those of `RowEncoder.swift`.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable
from typing import Any


def _with_offset(fields: tuple[int, ...]) -> datetime.datetime:
    *moment, offset = fields
    zone = datetime.timezone(datetime.timedelta(minutes=offset))
    return datetime.datetime(*moment, tzinfo=zone)  # type: ignore[arg-type,misc]


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "d": decimal.Decimal,
    "D": lambda fields: datetime.date(*fields),
    "T": lambda fields: datetime.time(*fields),
    "M": lambda fields: datetime.datetime(*fields),
    "O": _with_offset,
    "u": lambda data: uuid.UUID(bytes_le=data),
}


def converted(kinds: str, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows of one part, with Python's own types."""
    conversions = [_CONVERSIONS.get(kind) for kind in kinds]
    if not any(conversions):
        return rows
    return [
        tuple(
            [
                value if convert is None or value is None else convert(value)
                for convert, value in zip(conversions, row)  # noqa: B905
            ]
        )
        for row in rows
    ]
