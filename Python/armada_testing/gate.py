"""A server on loopback that hangs until it is told not to."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Gate:
    """Accepts connections and never answers; those that it accepts once `is_open` it passes on to `port`."""

    def __init__(self, port: int) -> None:
        self.target = ("127.0.0.1", port)
        self.is_open = False
        self.accepted = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.held: list[socket.socket] = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.held.append(connection)
                self.accepted += 1
                if self.is_open:
                    self.pass_on(connection)

    def pass_on(self, connection: socket.socket) -> None:
        try:
            server = socket.create_connection(self.target)
        except OSError:
            connection.close()
            return
        for pair in ((connection, server), (server, connection)):
            threading.Thread(target=self.copy, args=pair, daemon=True).start()

    def copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.close()

    def close(self) -> None:
        self.listener.close()
        for each in self.held:
            each.close()
