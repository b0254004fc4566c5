"""SQL Server's types: how a value travels in a row (MS-TDS 2.2.5.4 to 2.2.5.6), from what SQLite holds of it."""

from __future__ import annotations

import datetime
import decimal
import math
import re
import struct
import uuid
from dataclasses import dataclass
from typing import Any

from .errors import SQLError

# Latin1_General_CI_AS: code page 1252.
COLLATION = bytes.fromhex("0904d00034")
_NULL_PLP = b"\xff" * 8
_EPOCH_1900 = datetime.date(1900, 1, 1).toordinal()
_TICKS_OF_DAY = 24 * 3600 * 10_000_000
_CHUNK = 8000

_TYPE = re.compile(r"([a-z0-9_ ]+?)\s*(?:\(\s*(max|\d+)\s*(?:,\s*(\d+)\s*)?\))?", re.IGNORECASE)
_MOMENT = re.compile(
    r"(?:(\d{4})-?(\d\d)-?(\d\d))?[T ]?(?:(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?\s*(?:(Z)|([+-])(\d\d):(\d\d))?"
)
_INTEGERS = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}
_RANGES = {"tinyint": (0, 255)} | {
    name: (-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1) for name, size in _INTEGERS.items() if size > 1
}
_SYNONYMS = {"integer": "int", "dec": "decimal", "double precision": "float", "rowversion": "binary"}
_LONG = {"text": 0x23, "ntext": 0x63, "image": 0x22}
_SHORT = {"varchar": 0xA7, "char": 0xAF, "nvarchar": 0xE7, "nchar": 0xEF, "varbinary": 0xA5, "binary": 0xAD}
_SCALED = {"time": 0x29, "datetime2": 0x2A, "datetimeoffset": 0x2B}


def _length(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "little") + data


def _plp(data: bytes) -> bytes:
    chunks = [_length(4, data[at : at + _CHUNK]) for at in range(0, len(data), _CHUNK)]
    return len(data).to_bytes(8, "little") + b"".join(chunks) + bytes(4)


def moment(text: str, name: str) -> tuple[int, int, int]:
    """Day (proleptic ordinal), hundreds of nanoseconds since midnight, offset from UTC in minutes."""
    match = _MOMENT.fullmatch(text.strip())
    if match is None or not text.strip():
        raise SQLError(241, "Conversion failed when converting date and/or time from character string.", severity=16)
    year, month, day, hour, minute, second, fraction, _zulu, sign, hours, minutes = match.groups()
    try:
        date = datetime.date(int(year), int(month), int(day)) if year else datetime.date(1900, 1, 1)
        datetime.time(int(hour or 0), int(minute or 0), int(second or 0))
    except ValueError:
        raise SQLError(
            242,
            f"The conversion of a nvarchar data type to a {name} data type resulted in an out-of-range value.",
            severity=16,
            state=3,
        ) from None
    seconds = (int(hour or 0) * 60 + int(minute or 0)) * 60 + int(second or 0)
    ticks = seconds * 10_000_000 + int((fraction or "0").ljust(7, "0")[:7])
    offset = (int(hours) * 60 + int(minutes)) * (-1 if sign == "-" else 1) if sign else 0
    return date.toordinal(), ticks, offset


@dataclass(frozen=True)
class SQLType:
    """A declared type. `size` is in characters or bytes, -1 for `max`; `scale` counts digits after the point."""

    name: str
    size: int = 0
    precision: int = 18
    scale: int = 0

    @staticmethod
    def parse(text: str) -> SQLType:
        match = _TYPE.fullmatch(text.strip())
        name = match[1].lower() if match else ""
        name = _SYNONYMS.get(name, name)
        if match is None or name not in _KNOWN:
            raise SQLError(2715, f"Column, parameter, or variable #1: Cannot find data type {text}.", severity=16)
        first = -1 if (match[2] or "").lower() == "max" else int(match[2] or 0)
        second = int(match[3] or 0)
        if name in ("decimal", "numeric"):
            return SQLType(name, precision=first or 18, scale=second)
        if name in _SCALED:
            return SQLType(name, scale=first if match[2] else 7)
        if name == "float":
            return SQLType("real" if 0 < first <= 24 else "float")
        return SQLType(name, size=first if match[2] else 30 if name in _SHORT else 0)

    @property
    def metadata(self) -> bytes:
        """TYPE_INFO."""
        name = self.name
        if name in _INTEGERS:
            return bytes([0x26, _INTEGERS[name]])
        if name in _FIXED:
            return bytes(_FIXED[name])
        if name in ("decimal", "numeric"):
            return bytes([0x6A if name == "decimal" else 0x6C, self._decimal_size, self.precision, self.scale])
        if name in _SCALED:
            return bytes([_SCALED[name], self.scale])
        if name == "xml":
            return b"\xf1\x00"
        if name in _LONG:
            collation = b"" if name == "image" else COLLATION
            return bytes([_LONG[name]]) + b"\xff\xff\xff\x7f" + collation + b"\x01" + _length(2, b"")
        length = 0xFFFF if self.size < 0 else self.size * (2 if name in ("nvarchar", "nchar") else 1)
        collation = b"" if name in ("varbinary", "binary") else COLLATION
        return bytes([_SHORT[name]]) + length.to_bytes(2, "little") + collation

    @property
    def _decimal_size(self) -> int:
        return 5 if self.precision <= 9 else 9 if self.precision <= 19 else 13 if self.precision <= 28 else 17

    def encode(self, value: Any) -> bytes:
        """A value of SQLite's (None, int, float, str or bytes) as the row has it."""
        name = self.name
        if value is None:
            if name == "xml" or (name in _SHORT and self.size < 0):
                return _NULL_PLP
            return b"\xff\xff" if name in _SHORT else b"\0"
        if name in _LONG:
            return b"\x10" + b"P" * 16 + b"T" * 8 + _length(4, self._bytes(value))
        if name == "xml" or (name in _SHORT and self.size < 0):
            return _plp(self._bytes(value))
        if name in _SHORT:
            return _length(2, self._bytes(value))
        return _length(1, self._fixed(value))

    def _bytes(self, value: Any) -> bytes:
        name = self.name
        if name in ("varbinary", "binary", "image"):
            if isinstance(value, str):
                value = value.encode("cp1252", "replace")
            data = value if isinstance(value, bytes) else int(value).to_bytes(4, "big", signed=True)
            if name == "binary":
                data = data.ljust(self.size, b"\0")
            return data if self.size <= 0 else data[: self.size]
        text = value.decode("cp1252") if isinstance(value, bytes) else str(value)
        if name in ("char", "nchar"):
            text = text.ljust(self.size)
        if self.size > 0:
            text = text[: self.size]
        return text.encode("cp1252", "replace") if name in ("varchar", "char", "text") else text.encode("utf-16-le")

    def _fixed(self, value: Any) -> bytes:
        name = self.name
        if name in _INTEGERS:
            return self._integer(value).to_bytes(_INTEGERS[name], "little", signed=name != "tinyint")
        if name == "bit":
            return b"\1" if float(value) else b"\0"
        if name in ("float", "real"):
            return struct.pack("<d" if name == "float" else "<f", self._number(value))
        if name in ("decimal", "numeric"):
            number = self._decimal(value, self.scale)
            magnitude = abs(number)
            if magnitude >= 10**self.precision:
                raise SQLError(8115, f"Arithmetic overflow error converting numeric to data type {name}.", state=8)
            return bytes([number >= 0]) + magnitude.to_bytes(self._decimal_size - 1, "little")
        if name == "money":
            number = self._decimal(value, 4)
            return (number >> 32).to_bytes(4, "little", signed=True) + (number & 0xFFFFFFFF).to_bytes(4, "little")
        if name == "smallmoney":
            return self._decimal(value, 4).to_bytes(4, "little", signed=True)
        if name == "uniqueidentifier":
            try:
                return uuid.UUID(value).bytes_le if isinstance(value, str) else uuid.UUID(bytes_le=value).bytes_le
            except ValueError:
                raise SQLError(
                    8169, "Conversion failed when converting from a character string to uniqueidentifier.", state=2
                ) from None
        return self._temporal(str(value))

    def _temporal(self, text: str) -> bytes:
        name = self.name
        day, ticks, offset = moment(text, name)
        if name == "date":
            return (day - 1).to_bytes(3, "little")
        if name == "datetime":
            thirds = (ticks * 3 + 50_000) // 100_000
            day, thirds = day + thirds // (300 * 86400), thirds % (300 * 86400)
            return struct.pack("<iI", day - _EPOCH_1900, thirds)
        if name == "smalldatetime":
            minutes = (ticks + 300_000_000) // 600_000_000
            return struct.pack("<HH", day - _EPOCH_1900 + minutes // 1440, minutes % 1440)
        step: int = 10 ** (7 - self.scale)
        ticks = (ticks + step // 2) // step * step
        if name == "datetimeoffset":
            ticks -= offset * 60 * 10_000_000
        day, ticks = day + ticks // _TICKS_OF_DAY, ticks % _TICKS_OF_DAY
        time = (ticks // step).to_bytes(3 if self.scale <= 2 else 4 if self.scale <= 4 else 5, "little")
        if name == "time":
            return time
        date = (day - 1).to_bytes(3, "little")
        return time + date + (offset.to_bytes(2, "little", signed=True) if name == "datetimeoffset" else b"")

    def _integer(self, value: Any) -> int:
        try:
            number = int(value) if isinstance(value, (int, str)) else math.trunc(value)
        except ValueError:
            raise SQLError(
                245,
                f"Conversion failed when converting the nvarchar value '{value}' to data type {self.name}.",
            ) from None
        low, high = _RANGES[self.name]
        if not low <= number <= high:
            raise SQLError(8115, f"Arithmetic overflow error converting expression to data type {self.name}.", state=2)
        return number

    def _number(self, value: Any) -> float:
        try:
            return float(value)
        except ValueError:
            raise SQLError(8114, f"Error converting data type nvarchar to {self.name}.", state=5) from None

    def _decimal(self, value: Any, scale: int) -> int:
        try:
            with decimal.localcontext() as context:
                context.prec = 60
                scaled = decimal.Decimal(str(value)).scaleb(scale)
                return int(scaled.to_integral_value(decimal.ROUND_HALF_UP))
        except decimal.InvalidOperation:
            raise SQLError(8114, f"Error converting data type nvarchar to {self.name}.", state=5) from None


_FIXED = {
    "bit": (0x68, 1),
    "float": (0x6D, 8),
    "real": (0x6D, 4),
    "money": (0x6E, 8),
    "smallmoney": (0x6E, 4),
    "datetime": (0x6F, 8),
    "smalldatetime": (0x6F, 4),
    "uniqueidentifier": (0x24, 16),
    "date": (0x28,),
}
_KNOWN = {*_INTEGERS, *_FIXED, *_LONG, *_SHORT, *_SCALED, "decimal", "numeric", "xml"}

INT = SQLType("int")
TEXT = SQLType("nvarchar", size=4000)


def of_value(value: Any) -> SQLType:
    """The type of an expression that tells none, by its first value."""
    if isinstance(value, int):
        return INT if -(1 << 31) <= value < 1 << 31 else SQLType("bigint")
    if isinstance(value, float):
        return SQLType("float")
    if isinstance(value, bytes):
        return SQLType("varbinary", size=8000 if len(value) <= 8000 else -1)
    if isinstance(value, str):
        return TEXT if len(value) <= 4000 else SQLType("nvarchar", size=-1)
    return INT
