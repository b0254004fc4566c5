"""Values of every type, as Transact-SQL has them and as Python does."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from typing import Any

TEXT = "Ünïcödé ελληνικά русский العربية 漢字 한국어 😀 it's 100%"

# The declared type, a literal, and the value that pymssql gives for it.
TYPED: list[tuple[str, str, Any]] = [
    ("bit", "1", True),
    ("bit", "0", False),
    ("tinyint", "255", 255),
    ("smallint", "-32768", -32768),
    ("int", "2147483647", 2147483647),
    ("int", "-2147483648", -2147483648),
    ("bigint", "9223372036854775807", 9223372036854775807),
    ("bigint", "-9223372036854775808", -9223372036854775808),
    ("float", "1.7976931348623157E308", 1.7976931348623157e308),
    ("float", "-0.1", -0.1),
    ("float", "5E-324", 5e-324),
    ("real", "0.5", 0.5),
    ("real", "3.4028235E38", 3.4028234663852886e38),
    ("decimal(5,2)", "-123.45", Decimal("-123.45")),
    ("decimal(38,0)", "'99999999999999999999999999999999999999'", Decimal("9" * 38)),
    ("decimal(38,38)", "'0.00000000000000000000000000000000000001'", Decimal("1E-38")),
    ("numeric(19,4)", "0", Decimal("0.0000")),
    ("numeric(28,10)", "'123456789012345678.0123456789'", Decimal("123456789012345678.0123456789")),
    ("money", "'922337203685477.5807'", Decimal("922337203685477.5807")),
    ("money", "'-922337203685477.5808'", Decimal("-922337203685477.5808")),
    ("money", "0.1", Decimal("0.1000")),
    ("smallmoney", "-214748.3648", Decimal("-214748.3648")),
    ("char(5)", "'ab'", "ab   "),
    ("varchar(10)", "'café €'", "café €"),
    ("varchar(10)", "''", ""),
    ("varchar(max)", "'" + "é" * 9000 + "'", "é" * 9000),
    ("nchar(3)", "N'漢'", "漢  "),
    ("nvarchar(100)", f"N'{TEXT.replace(chr(39), chr(39) * 2)}'", TEXT),
    ("nvarchar(10)", "N''", ""),
    ("nvarchar(max)", "N'" + "漢😀" * 50_000 + "'", "漢😀" * 50_000),
    ("text", "'plain text'", "plain text"),
    ("ntext", "N'текст 漢字'", "текст 漢字"),
    ("xml", "N'<a>é</a>'", "<a>é</a>"),
    ("binary(4)", "0x01FF", b"\x01\xff\x00\x00"),
    ("varbinary(10)", "0x00FF10", b"\x00\xff\x10"),
    ("varbinary(10)", "0x", b""),
    ("varbinary(max)", "0x" + "00ff" * 60_000, b"\x00\xff" * 60_000),
    ("image", "0x0102", b"\x01\x02"),
    ("date", "'0001-01-01'", datetime.date(1, 1, 1)),
    ("date", "'9999-12-31'", datetime.date(9999, 12, 31)),
    ("time", "'23:59:59.9999999'", datetime.time(23, 59, 59, 999999)),
    ("time(0)", "'00:00:00'", datetime.time()),
    ("time(3)", "'12:34:56.789'", datetime.time(12, 34, 56, 789000)),
    ("datetime", "'1753-01-01 00:00:00'", datetime.datetime(1753, 1, 1)),
    ("datetime", "'2024-02-29 23:59:59.997'", datetime.datetime(2024, 2, 29, 23, 59, 59, 997000)),
    ("smalldatetime", "'2079-06-06 23:59'", datetime.datetime(2079, 6, 6, 23, 59)),
    ("datetime2", "'0001-01-01 00:00:00.0000001'", datetime.datetime(1, 1, 1)),
    ("datetime2(6)", "'9999-12-31 23:59:59.999999'", datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)),
    ("datetime2(0)", "'2024-02-29 12:00:01'", datetime.datetime(2024, 2, 29, 12, 0, 1)),
    (
        "datetimeoffset",
        "'2024-02-29 00:30:00.1234567 +05:45'",
        datetime.datetime(2024, 2, 29, 0, 30, 0, 123456, datetime.timezone(datetime.timedelta(hours=5, minutes=45))),
    ),
    (
        "datetimeoffset(0)",
        "'2024-12-31 23:00:00 -08:00'",
        datetime.datetime(2024, 12, 31, 23, tzinfo=datetime.timezone(datetime.timedelta(hours=-8))),
    ),
    (
        "uniqueidentifier",
        "'6F9619FF-8B86-D011-B42D-00C04FC964FF'",
        uuid.UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff"),
    ),
]

# The declared type, and a value to send.
SENT: list[tuple[str, Any]] = [
    ("nvarchar(100)", TEXT),
    ("nvarchar(max)", "漢😀'%s%%" * 10_000),
    ("nvarchar(20)", ""),
    ("bit", True),
    ("int", -5),
    ("bigint", 1 << 62),
    ("float", 0.1),
    ("float", 1e-300),
    ("decimal(20,10)", Decimal("-1234.5678900000")),
    ("varbinary(max)", bytes(range(256)) * 100),
    ("date", datetime.date(2024, 2, 29)),
    ("time", datetime.time(23, 59, 59, 123456)),
    ("datetime2", datetime.datetime(2024, 2, 29, 23, 59, 59, 123000)),
    ("uniqueidentifier", uuid.UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff")),
    ("int", None),
    ("nvarchar(10)", None),
]
