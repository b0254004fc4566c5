"""The frames between the agent and its Python processes.

A stream carries frames: the length of what follows (u32), a type (u8), and a payload. All numbers are little endian.
Jobs go to a worker over a socket that keeps messages apart, one message per job, so that a job which a busy
worker has not read yet can be taken back.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any, Final

# Worker to agent.
READY: Final = 1
STARTED: Final = 2
RESULT: Final = 3
FETCH: Final = 4
OUTPUT: Final = 5
FATAL: Final = 6
# Agent to worker.
BODY: Final = 16
# Main process to agent.
BOOTED: Final = 32
LOADED: Final = 33
LOAD_FAILED: Final = 34
WORKER_EXITED: Final = 35
REPLY: Final = 36
CALL_FAILED: Final = 37
WORKER_FORKED: Final = 38
HELD_UP: Final = 39
# Agent to main process.
LOAD: Final = 48
CALL: Final = 49
RELOAD: Final = 50
STOP: Final = 51

# Outcomes of a job.
SUCCESS: Final = 0
FAILURE: Final = 1
RETRY: Final = 2
IGNORE: Final = 3
REJECT: Final = 4
# The tracer itself raised: nothing was stored for the job.
UNTRACED: Final = 5
# The body can't be decoded, or is of a shape that no Celery client writes; the task was not begun.
UNDECODABLE: Final = 6
MALFORMED: Final = 7

# Flags of a RESULT frame: the message is to be queued again; the worker ends now, at a limit of tasks or memory.
REQUEUE: Final = 1
LAST: Final = 2

# Flags of a job message.
REPORT_START: Final = 1
FETCH_BODY: Final = 2
EXOTIC: Final = 4
PROTOCOL_1: Final = 8

# Streams of an OUTPUT frame.
STDOUT: Final = 1
STDERR: Final = 2
LOG: Final = 3

JOB: Final = struct.Struct("<BBHQIII")  # kind, flags, 0, job, lengths of headers, info and body
SPAWN: Final = struct.Struct("<II")  # index, generation
HEADER: Final = struct.Struct("<IB")
NUMBER: Final = struct.Struct("<IBQ")
RESULT_HEAD: Final = struct.Struct("<IBQBBHd")
RESULT_FLAGS_OFFSET: Final = 14
OUTPUT_HEAD: Final = struct.Struct("<IBQBBH")
EXITED: Final = struct.Struct("<IBIIiii")
FORKED: Final = struct.Struct("<IBIIi")
CALL_HEAD: Final = struct.Struct("<QIH")

# Longest message on a job socket; what is longer is fetched over the stream.
JOB_LIMIT: Final = 65536 + JOB.size
# Longest frame that the main process accepts.
FRAME_LIMIT: Final = 256 * 1024 * 1024


class ConnectionLost(Exception):
    """The other end of a socket is gone."""


def receive_exactly(connection: socket.socket, length: int) -> bytes:
    """Read `length` bytes from a blocking stream."""
    buffer = bytearray(length)
    view = memoryview(buffer)
    while view:
        count = connection.recv_into(view)
        if count == 0:
            raise ConnectionLost
        view = view[count:]
    return bytes(buffer)


def receive_frame(connection: socket.socket) -> tuple[int, bytes]:
    """Read one frame from a blocking stream: its type and payload."""
    length, kind = HEADER.unpack(receive_exactly(connection, HEADER.size))
    if not 1 <= length <= FRAME_LIMIT:
        raise ValueError(f"frame of {length} bytes")
    return kind, receive_exactly(connection, length - 1)


def send_frame(connection: socket.socket, kind: int, payload: bytes = b"") -> None:
    """Write one frame to a blocking stream."""
    connection.sendall(HEADER.pack(1 + len(payload), kind) + payload)


def send_json(connection: socket.socket, kind: int, value: Any, prefix: bytes = b"") -> None:
    """Write one frame whose payload is JSON after a fixed prefix."""
    send_frame(connection, kind, prefix + json.dumps(value, default=str).encode())


def encode(text: str) -> bytes:
    """UTF-8, also of text that has lone surrogates."""
    return text.encode("utf-8", "backslashreplace")


def split_sized(data: bytes) -> list[str]:
    """The texts that `sized` has written."""
    texts = []
    while data:
        end = 4 + int.from_bytes(data[:4], "little")
        texts.append(data[4:end].decode("utf-8", "replace"))
        data = data[end:]
    return texts


def sized(text: str, limit: int = 1 << 20) -> bytes:
    """A text with its length in front, cut to `limit` bytes."""
    data = encode(text)
    if len(data) > limit:
        data = data[:limit].decode("utf-8", "ignore").encode()
    return len(data).to_bytes(4, "little") + data
