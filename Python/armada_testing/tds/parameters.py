"""The parameters of a remote procedure call (MS-TDS 2.2.6.6), as SQLite's values."""

from __future__ import annotations

import datetime
import decimal
import struct
import uuid
from typing import Any

from .errors import SQLError
from .types import SQLType

SP_EXECUTESQL = 10
_SIZES = {1: "tinyint", 2: "smallint", 4: "int", 8: "bigint"}


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        data = self.data[self.at : self.at + count]
        self.at += count
        return data

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def text(self) -> str:
        return self.take(2 * self.number(1)).decode("utf-16-le")


def without_headers(message: bytes) -> bytes:
    """A batch or a call without ALL_HEADERS."""
    return message[int.from_bytes(message[:4], "little") :]


def call(message: bytes) -> tuple[str, dict[str, Any], dict[str, SQLType]]:
    """The statement of an `sp_executesql`, its values and their types by name."""
    reader = _Reader(without_headers(message))
    length = reader.number(2)
    procedure = reader.number(2) if length == 0xFFFF else reader.take(2 * length).decode("utf-16-le")
    if procedure not in (SP_EXECUTESQL, "sp_executesql"):
        raise SQLError(2812, f"Could not find stored procedure '{procedure}'.", state=62)
    reader.take(2)
    parameters = []
    while reader.at < len(reader.data):
        name = reader.text().lstrip("@")
        reader.take(1)
        kind, value = _value(reader)
        parameters.append((name, kind, value))
    values = {name: value for name, _, value in parameters[2:]}
    return str(parameters[0][2]), values, {name: kind for name, kind, _ in parameters[2:]}


def _value(reader: _Reader) -> tuple[SQLType, Any]:
    kind = reader.number(1)
    if kind in (0x26, 0x68, 0x6D, 0x24):
        size = reader.number(1)
        data = reader.take(reader.number(1))
        if kind == 0x26:
            return SQLType(_SIZES[size]), int.from_bytes(data, "little", signed=size > 1) if data else None
        if kind == 0x68:
            return SQLType("bit"), data[0] if data else None
        if kind == 0x6D:
            name = "float" if size == 8 else "real"
            return SQLType(name), struct.unpack("<d" if size == 8 else "<f", data)[0] if data else None
        return SQLType("uniqueidentifier"), str(uuid.UUID(bytes_le=data)) if data else None
    if kind in (0x6A, 0x6C):
        _, precision, scale = reader.take(3)
        data = reader.take(reader.number(1))
        return SQLType("decimal", precision=precision, scale=scale), _decimal(data, scale)
    if kind in (0x28, 0x29, 0x2A, 0x2B):
        scale = reader.number(1) if kind != 0x28 else 0
        name = {0x28: "date", 0x29: "time", 0x2A: "datetime2", 0x2B: "datetimeoffset"}[kind]
        return SQLType(name, scale=scale), _moment(name, scale, reader.take(reader.number(1)))
    if kind in (0xA5, 0xA7, 0xAD, 0xAF, 0xE7, 0xEF):
        return _string(reader, kind)
    raise SQLError(8009, f"The incoming tabular data stream is incorrect. Data type {kind:#x} is unknown.")


def _decimal(data: bytes, scale: int) -> str | None:
    if not data:
        return None
    number = int.from_bytes(data[1:], "little") * (1 if data[0] else -1)
    with decimal.localcontext() as context:
        context.prec = 60
        return format(decimal.Decimal(number).scaleb(-scale), "f")


def _moment(name: str, scale: int, data: bytes) -> str | None:
    if not data:
        return None
    offset = int.from_bytes(data[-2:], "little", signed=True) if name == "datetimeoffset" else None
    if offset is not None:
        data = data[:-2]
    text = []
    days = int.from_bytes(data[-3:], "little") if name != "time" else 0
    ticks = 0
    if name != "date":
        ticks = int.from_bytes(data[:-3] if name != "time" else data, "little") * 10 ** (7 - scale)
        ticks += (offset or 0) * 600_000_000
        days, ticks = days + ticks // 864_000_000_000, ticks % 864_000_000_000
    if name != "time":
        text.append(datetime.date.fromordinal(days + 1).isoformat())
    if name != "date":
        seconds, fraction = divmod(ticks, 10_000_000)
        text.append(f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:07}")
    if offset is not None:
        text.append(f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}")
    return " ".join(text)


def _string(reader: _Reader, kind: int) -> tuple[SQLType, Any]:
    name = {0xA5: "varbinary", 0xAD: "binary", 0xA7: "varchar", 0xAF: "char", 0xE7: "nvarchar", 0xEF: "nchar"}[kind]
    size = reader.number(2)
    if kind not in (0xA5, 0xAD):
        reader.take(5)
    data: bytes | None
    if size == 0xFFFF:
        data = _parts(reader)
        size = -1
    else:
        length = reader.number(2)
        data = None if length == 0xFFFF else reader.take(length)
        size = max(1, size // 2 if name[0] == "n" else size)
    if data is None or kind in (0xA5, 0xAD):
        return SQLType(name, size=size), data
    return SQLType(name, size=size), data.decode("utf-16-le" if name[0] == "n" else "cp1252")


def _parts(reader: _Reader) -> bytes | None:
    if reader.number(8) == 0xFFFF_FFFF_FFFF_FFFF:
        return None
    data = b""
    while count := reader.number(4):
        data += reader.take(count)
    return data
