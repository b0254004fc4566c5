"""The clerk: a forked process that writes to the result backend, so that a backend that hangs delays nothing else."""

from __future__ import annotations

import json
import socket

from . import wire
from .calls import perform
from .load import Loaded


def serve(loaded: Loaded, connection: socket.socket) -> None:
    """Answer calls until the main process is gone."""
    for module in ("billiard.util", "multiprocessing.util"):
        __import__(module, fromlist=["_run_after_forkers"])._run_after_forkers()
    while True:
        message = connection.recv(1 << 20)
        if not message:
            return
        identity, _, length = wire.CALL_HEAD.unpack_from(message)
        start = wire.CALL_HEAD.size
        kind = wire.REPLY
        try:
            arguments = json.loads(message[start + length :] or b"null")
            answer = perform(loaded, message[start : start + length].decode(), arguments)
            data = json.dumps(answer, default=str).encode()
        except Exception as error:
            kind = wire.CALL_FAILED
            data = wire.sized(type(error).__name__) + wire.sized(str(error), 10000)
        connection.send(bytes([kind]) + identity.to_bytes(8, "little") + data)
