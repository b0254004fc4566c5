"""The control channel: a socket to the agent that mitmdump has inherited.

A frame is a length (u32, little endian, of what follows), the length of its head (u32, little endian), its head as a
JSON object, and bytes that the head tells the meaning of; the agent's side is `ControlFrame.swift`.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

DESCRIPTOR = 3
# As the agent's side has it.
LIMIT = 64 << 20


class Channel:
    """Reads and writes on mitmproxy's own event loop."""

    def __init__(self, descriptor: int = DESCRIPTOR) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._socket, limit=1 << 20)

    def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        """Send a frame; nothing is sent before `open`, nor once the agent has gone.

        Raises:
            ValueError: the frame is too long.
        """
        text = json.dumps(head, separators=(",", ":")).encode("utf-8", "surrogatepass")
        length = 4 + len(text) + len(body)
        if length > LIMIT:
            raise ValueError(f"{len(body)} bytes; at most {LIMIT >> 20} MiB can be passed on at once")
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(length.to_bytes(4, "little") + len(text).to_bytes(4, "little") + text + body)

    async def receive(self) -> dict[str, Any] | None:
        """The next frame's head, which is all that the agent sends; `None` once it has gone."""
        assert self._reader is not None
        try:
            length = int.from_bytes(await self._reader.readexactly(4), "little")
            payload = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        head: dict[str, Any] = json.loads(payload[4 : 4 + int.from_bytes(payload[:4], "little")])
        return head
