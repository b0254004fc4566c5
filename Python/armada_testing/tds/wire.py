"""Packets and messages (MS-TDS 2.2.3), over a socket that may speak TLS from the middle of the login on."""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections.abc import Callable

BATCH, RPC, RESPONSE, ATTENTION, TRANSACTION, LOGIN, PRELOGIN = 1, 3, 4, 6, 14, 16, 18
_HEADER = struct.Struct(">BBHHBB")


class Closed(Exception):
    """The client has gone."""


class Wire:
    """One connection's packets. `send` and `finish` write the response of the moment."""

    def __init__(self, connection: socket.socket, attention_came: Callable[[], None] = lambda: None) -> None:
        self.packet_size = 4096
        self._attention_came = attention_came
        self._socket = connection
        self._received = bytearray()
        self._out = bytearray()
        self._number = 0
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    @property
    def cipher(self) -> str | None:
        return self._tls.version() if self._tls else None

    # Reading

    def receive(self) -> tuple[int, bytes]:
        """A whole message: its type and what it holds."""
        message = b""
        while True:
            kind, is_last, payload = self._packet()
            message += payload
            if is_last:
                if kind == ATTENTION:
                    self._attention_came()
                return kind, message

    def attention(self, seconds: float = 0) -> bool:
        """Whether the client cancels what runs: it can send nothing else meanwhile. Waits for at most `seconds`."""
        if not self._received and not select.select([self._socket], [], [], seconds)[0]:
            return False
        kind, _ = self.receive()
        return kind == ATTENTION

    def _packet(self) -> tuple[int, bool, bytes]:
        kind, status, length, _spid, _number, _window = _HEADER.unpack(self._take(8))
        return kind, bool(status & 1), self._take(length - 8)

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            self._received += self._read()
        data = bytes(self._received[:count])
        del self._received[:count]
        return data

    def _read(self) -> bytes:
        while True:
            if self._tls is not None:
                try:
                    data = self._tls.read(65536)
                    if not data:
                        raise Closed
                    return data
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError as error:
                    raise Closed from error
            try:
                data = self._socket.recv(65536)
            except OSError as error:
                raise Closed from error
            if not data:
                raise Closed
            if self._tls is None:
                return data
            self._incoming.write(data)

    # Writing

    def send(self, data: bytes, kind: int = RESPONSE) -> None:
        self._out += data
        payload = self.packet_size - 8
        while len(self._out) > payload:
            self._write_packet(kind, bytes(self._out[:payload]), is_last=False)
            del self._out[:payload]

    def finish(self, kind: int = RESPONSE) -> None:
        self._write_packet(kind, bytes(self._out), is_last=True)
        self._out.clear()
        self._number = 0

    def flush_rows(self) -> None:
        """What was sent so far leaves now, in a packet that is not the last."""
        if self._out:
            self._write_packet(RESPONSE, bytes(self._out), is_last=False)
            self._out.clear()

    def _write_packet(self, kind: int, payload: bytes, *, is_last: bool) -> None:
        self._number = (self._number + 1) & 0xFF
        self._write(_HEADER.pack(kind, int(is_last), len(payload) + 8, 51, self._number, 0) + payload)

    def _write(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Closed from error

    # TLS

    def start_tls(self, context: ssl.SSLContext) -> None:
        """The handshake travels inside PRELOGIN packets; what follows it is TLS's own records with packets inside."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                is_done = False
            except ssl.SSLError as error:
                raise Closed from error
            if self._outgoing.pending:
                self.send(self._outgoing.read(), PRELOGIN)
                self.finish(PRELOGIN)
            if is_done:
                self._tls = tls
                return
            self._incoming.write(self._packet()[2])

    def stop_tls(self) -> None:
        """After a login that alone was encrypted."""
        self._tls = None
