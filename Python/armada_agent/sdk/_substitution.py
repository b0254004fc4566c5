"""Python's values in a query's text, exactly as pymssql puts them there."""

from __future__ import annotations

import datetime
import decimal
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

# The longest number that SQL Server takes as a decimal literal.
_DIGITS = 38

_BY_POSITION = re.compile(rb"%[sd]")
_BY_NAME = re.compile(rb"%\(([^)]+)\)[sd]")


def substitute(query: str | bytes, values: Sequence[Any] | Mapping[str, Any]) -> bytes:
    """Put `values` in the place of `%s` and `%d`, or of `%(name)s` where they are a mapping.

    A list or a tuple among them becomes `(…, …)`, for `IN`. Nothing else of the query is touched: a `%` that no `s` or
    `d` follows stands for itself.
    """
    text = query.encode() if isinstance(query, str) else query
    if isinstance(values, Mapping):
        literals = {name.encode(): _literals(value) for name, value in values.items()}

        def named(match: re.Match[bytes]) -> bytes:
            try:
                return literals[match[1]]
            except KeyError:
                raise ValueError(
                    f"params dictionary did not contain value for placeholder: {match[1].decode()}"
                ) from None

        return _BY_NAME.sub(named, text)
    remaining = iter([_literals(value) for value in values])

    def positional(_: re.Match[bytes]) -> bytes:
        try:
            return next(remaining)
        except StopIteration:
            raise ValueError("more placeholders in sql than params available") from None

    return _BY_POSITION.sub(positional, text)


def _literals(value: Any) -> bytes:
    if isinstance(value, (list, tuple)):
        return b"(" + b",".join([literal(element) for element in value]) + b")"
    return literal(value)


def literal(value: Any) -> bytes:
    """One value, as Transact-SQL writes it."""
    if value is None:
        return b"NULL"
    if isinstance(value, bool):
        return b"1" if value else b"0"
    if isinstance(value, float):
        return repr(value).encode()
    if isinstance(value, int):
        return str(value).encode()
    if isinstance(value, decimal.Decimal):
        return _decimal(value).encode()
    if isinstance(value, uuid.UUID):
        return f"N'{value}'".encode()
    if isinstance(value, str):
        return ("N'" + value.replace("'", "''") + "'").encode()
    if isinstance(value, bytearray):
        return b"0x" + value.hex().encode()
    if isinstance(value, bytes):
        # ASCII goes as text, which SQL Server does not convert to binary by itself; a bytearray always goes as binary.
        if value.isascii() and b"\0" not in value:
            return b"'" + value.replace(b"'", b"''") + b"'"
        return b"0x" + value.hex().encode()
    if isinstance(value, datetime.datetime):
        return _datetime(value).encode()
    if isinstance(value, datetime.date):
        return f"'{value.year:04}-{value.month:02}-{value.day:02}'".encode()
    if isinstance(value, datetime.time):
        return f"'{value:%H:%M:%S.%f}'".encode()
    raise ValueError(f"Unsupported parameter type: {type(value)}")


def _decimal(value: decimal.Decimal) -> str:
    """With an exponent only where no decimal literal can hold the number: SQL Server takes the exponent for a float."""
    text = str(value)
    if "E" not in text or not value.is_finite():
        return text
    fixed = format(value, "f")
    whole, _, fraction = fixed.lstrip("-").partition(".")
    return text if len(whole.lstrip("0")) + len(fraction) > _DIGITS else fixed


def _datetime(value: datetime.datetime) -> str:
    """In milliseconds, which is what `datetime` holds; in microseconds where an offset tells a later type."""
    # `UTC+02:00`: what follows the name is the offset.
    offset = value.strftime("%Z")[3:]
    # pymssql's own class, for parameters of the type datetime2.
    is_precise = bool(offset) or any(kind.__name__ == "datetime2" for kind in type(value).__mro__)
    fraction = f"{value.microsecond:06}" if is_precise else f"{value.microsecond // 1000:03}"
    return f"'{value.year:04}-{value:%m-%d %H:%M:%S}.{fraction}{offset}'"
