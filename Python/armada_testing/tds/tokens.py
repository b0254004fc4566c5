"""The tokens of a response (MS-TDS 2.2.7), and what a login holds (2.2.6.4, 2.2.6.5)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import SQLError
from .types import COLLATION, SQLType

DONE_MORE, DONE_ERROR, DONE_COUNT, DONE_ATTENTION = 1, 2, 0x10, 0x20
SERVER_NAME = "armada-testing"
ENCRYPT_OFF, ENCRYPT_ON, ENCRYPT_NOT_SUPPORTED, ENCRYPT_REQUIRED = range(4)


def _us_text(text: str) -> bytes:
    data = text.encode("utf-16-le")
    return (len(data) // 2).to_bytes(2, "little") + data


def _b_text(text: str) -> bytes:
    return len(text).to_bytes(1, "little") + text.encode("utf-16-le")


def _token(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + len(content).to_bytes(2, "little") + content


def message(error: SQLError) -> bytes:
    """ERROR, or INFO for severities up to 10."""
    # What is no error is of class 0 on the wire, also what has severity 10.
    severity = error.severity if error.severity > 10 else 0
    content = struct.pack("<iBB", error.number, error.state, severity)
    content += _us_text(error.text) + _b_text(SERVER_NAME) + _b_text("") + struct.pack("<i", error.line)
    return _token(0xAA if error.severity > 10 else 0xAB, content)


def change_of_text(kind: int, new: str, old: str) -> bytes:
    """ENVCHANGE of the database (1), the language (2) or the packet size (4)."""
    return _token(0xE3, bytes([kind]) + _b_text(new) + _b_text(old))


def change_of_collation() -> bytes:
    return _token(0xE3, bytes([7, len(COLLATION)]) + COLLATION + b"\0")


def change_of_transaction(kind: int, descriptor: int) -> bytes:
    """ENVCHANGE: a transaction has begun (8), is committed (9), is rolled back (10)."""
    number = b"\x08" + descriptor.to_bytes(8, "little")
    return _token(0xE3, bytes([kind]) + (number + b"\0" if kind == 8 else b"\0" + number))


def login_acknowledgement() -> bytes:
    return _token(0xAD, b"\x01" + b"\x74\x00\x00\x04" + _b_text("Microsoft SQL Server") + b"\x10\x00\x03\xe8")


def columns(names: Sequence[str], types: Sequence[SQLType]) -> bytes:
    """COLMETADATA; every column may be NULL."""
    content = b"\x81" + len(names).to_bytes(2, "little")
    for name, kind in zip(names, types, strict=True):
        content += b"\0\0\0\0\x09\0" + kind.metadata
        content += _b_text(name)
    return content


def done(status: int, rows: int = 0, command: int = 0xC1, *, of_procedure: bool = False) -> bytes:
    return bytes([0xFE if of_procedure else 0xFD]) + struct.pack("<HHQ", status, command, rows)


def return_status(value: int) -> bytes:
    return b"\x79" + struct.pack("<i", value)


def prelogin(encryption: int) -> bytes:
    options = [(0, b"\x10\x00\x03\xe8\x00\x00"), (1, bytes([encryption])), (2, b"\0"), (3, b""), (4, b"\0")]
    offset = 5 * len(options) + 1
    head, body = b"", b""
    for kind, content in options:
        head += struct.pack(">BHH", kind, offset + len(body), len(content))
        body += content
    return head + b"\xff" + body


def encryption_of(prelogin_message: bytes) -> int:
    """What the client says of encryption."""
    at = 0
    while prelogin_message[at] != 0xFF:
        kind, offset, _ = struct.unpack_from(">BHH", prelogin_message, at)
        if kind == 1:
            return int(prelogin_message[offset])
        at += 5
    return ENCRYPT_NOT_SUPPORTED


@dataclass(frozen=True)
class Login:
    """What LOGIN7 says."""

    packet_size: int
    user: str
    password: str
    application: str
    database: str

    @staticmethod
    def parse(data: bytes) -> Login:
        def text(at: int) -> bytes:
            offset, count = struct.unpack_from("<HH", data, at)
            return data[offset : offset + 2 * count]

        hidden = bytes((byte ^ 0xA5) >> 4 | ((byte ^ 0xA5) & 0xF) << 4 for byte in text(44))
        return Login(
            packet_size=struct.unpack_from("<I", data, 8)[0],
            user=text(40).decode("utf-16-le"),
            password=hidden.decode("utf-16-le"),
            application=text(48).decode("utf-16-le"),
            database=text(68).decode("utf-16-le"),
        )
