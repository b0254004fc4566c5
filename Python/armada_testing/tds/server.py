"""The server: a port on loopback, a thread for each connection."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from ..processes import private_directory
from . import parameters, tokens
from .errors import SQLError
from .session import Cancelled, Session
from .wire import ATTENTION, BATCH, LOGIN, PRELOGIN, RPC, TRANSACTION, Closed, Wire


@dataclass
class Behaviour:
    """How the server misbehaves; may be changed while it runs."""

    # The connection is cut when this many more batches have come; `None` for never.
    batches_until_cut: int | None = None
    # The connection is cut in the middle of a result, after this many rows.
    rows_until_cut: int | None = None
    # Batches that hold this text are never answered.
    unanswered: str | None = None
    # Logins are never answered.
    silent: bool = False
    # Seconds before each row.
    row_delay: float = 0.0


@dataclass
class Journal:
    """What the server has seen, for tests to look at."""

    logins: int = 0
    encrypted_logins: int = 0
    encrypted_batches: int = 0
    attentions: int = 0
    batches: list[str] = field(default_factory=list)


class SQLServer:
    """`with SQLServer() as server:` serves until the end of the block.

    `encryption` is "off" (not supported), "login" (the client decides) or "required".
    """

    host = "127.0.0.1"
    user = "agent"
    password = "pass;word'ñ€"
    database = "armada"

    def __init__(self, encryption: str = "off", port: int = 0) -> None:
        self.behaviour = Behaviour()
        self.journal = Journal()
        self.port = port
        self._encryption = encryption
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._number = 50
        self._resources = contextlib.ExitStack()
        self._listener: socket.socket | None = None
        self._tls: ssl.SSLContext | None = None
        self._path = ""
        self.certificate = Path()

    @property
    def environment(self) -> dict[str, str]:
        """What tells an agent where the server is."""
        return {
            "SQL_SERVER_NAME": self.host,
            "SQL_SERVER_PORT": str(self.port),
            "SQL_SERVER_DB": self.database,
            "SQL_SERVER_USER": self.user,
            "SQL_SERVER_PASSWORD": self.password,
        }

    @property
    def open_connections(self) -> int:
        with self._lock:
            return len(self._connections)

    def __enter__(self) -> SQLServer:
        home = self._resources.enter_context(private_directory("tds"))
        self._path = str(home / "store.sqlite")
        with contextlib.closing(Session(0, self._path, self.database, Wire(socket.socket()), lambda _: None)) as first:
            first._store.execute("PRAGMA journal_mode = WAL")
            first._store.execute("PRAGMA synchronous = OFF")
        if self._encryption != "off":
            self._tls = self._certified(home)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._resources.close()

    def start(self) -> None:
        """Listens, after `stop` on the same port again."""
        listener = socket.create_server((self.host, self.port), backlog=64)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()

    def stop(self) -> None:
        """Cuts every connection and listens no more."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()

    def cut(self) -> None:
        """Cuts every connection that is open."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _certified(self, home: Path) -> ssl.SSLContext:
        key, self.certificate = home / "key.pem", home / "certificate.pem"
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        files = ["-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run([*request, *names, *files], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # TDS 7.4 knows no later one.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, key)
        return context

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
            self._number += 1
            number = self._number
        wire = Wire(connection, self._attention_came)
        try:
            with connection, contextlib.suppress(Closed):
                if self._log_in(wire):
                    self._converse(wire, number)
        finally:
            with self._lock:
                self._connections.discard(connection)

    # Login

    def _log_in(self, wire: Wire) -> bool:
        kind, message = wire.receive()
        is_for_login_alone = False
        if kind == PRELOGIN:
            asked = tokens.encryption_of(message)
            answer = self._agreed(asked)
            wire.send(tokens.prelogin(answer))
            wire.finish()
            if answer != tokens.ENCRYPT_NOT_SUPPORTED and asked != tokens.ENCRYPT_NOT_SUPPORTED:
                assert self._tls is not None
                wire.start_tls(self._tls)
                is_for_login_alone = answer == tokens.ENCRYPT_OFF
            kind, message = wire.receive()
        if kind != LOGIN:
            return False
        login = tokens.Login.parse(message)
        with self._lock:
            self.journal.logins += 1
            self.journal.encrypted_logins += wire.cipher is not None
        if is_for_login_alone:
            wire.stop_tls()
        while self.behaviour.silent:
            wire.attention(0.1)
        return self._answer(wire, login)

    def _agreed(self, asked: int) -> int:
        if self._encryption == "off":
            return tokens.ENCRYPT_NOT_SUPPORTED
        if self._encryption == "required":
            return (
                tokens.ENCRYPT_ON if asked in (tokens.ENCRYPT_ON, tokens.ENCRYPT_REQUIRED) else tokens.ENCRYPT_REQUIRED
            )
        if asked == tokens.ENCRYPT_REQUIRED:
            return tokens.ENCRYPT_ON
        return asked

    def _answer(self, wire: Wire, login: tokens.Login) -> bool:
        problems = []
        if login.database not in ("", self.database, "master"):
            text = f'Cannot open database "{login.database}" requested by the login. The login failed.'
            problems.append(SQLError(4060, text, severity=11))
        if problems or (login.user, login.password) != (self.user, self.password):
            problems.append(SQLError(18456, f"Login failed for user '{login.user}'.", severity=14, line=1))
            for problem in problems:
                wire.send(tokens.message(problem))
            wire.send(tokens.done(tokens.DONE_ERROR))
            wire.finish()
            return False
        size = login.packet_size or 4096
        database = login.database or self.database
        changed = SQLError(5701, f"Changed database context to '{database}'.", severity=0, state=2)
        language = SQLError(5703, "Changed language setting to us_english.", severity=0)
        wire.send(tokens.change_of_text(1, database, "master") + tokens.message(changed))
        wire.send(tokens.change_of_collation())
        wire.send(tokens.change_of_text(2, "us_english", "") + tokens.message(language))
        wire.send(tokens.login_acknowledgement() + tokens.change_of_text(4, str(size), "4096") + tokens.done(0))
        wire.finish()
        wire.packet_size = size
        return True

    # Batches

    def _converse(self, wire: Wire, number: int) -> None:
        with contextlib.closing(Session(number, self._path, self.database, wire, self._row_sent(wire))) as session:
            while True:
                kind, message = wire.receive()
                if kind == ATTENTION:
                    # What it cancels has been answered already.
                    wire.send(tokens.done(tokens.DONE_ATTENTION))
                    wire.finish()
                elif kind == TRANSACTION:
                    self._manage(wire, session, message)
                elif kind in (BATCH, RPC):
                    self._run(wire, session, kind, message)
                else:
                    raise Closed

    def _attention_came(self) -> None:
        with self._lock:
            self.journal.attentions += 1

    def _row_sent(self, wire: Wire) -> Callable[[int], None]:
        def note(count: int) -> None:
            behaviour = self.behaviour
            if behaviour.rows_until_cut is not None and count >= behaviour.rows_until_cut:
                wire.flush_rows()
                raise Closed
            if behaviour.row_delay:
                wire.flush_rows()
                if wire.attention(behaviour.row_delay):
                    raise Cancelled

        return note

    def _run(self, wire: Wire, session: Session, kind: int, message: bytes) -> None:
        try:
            if kind == RPC:
                batch, values, types = parameters.call(message)
            else:
                batch, values, types = parameters.without_headers(message).decode("utf-16-le"), {}, {}
        except SQLError as error:
            wire.send(tokens.message(error) + tokens.done(tokens.DONE_ERROR))
            wire.finish()
            return
        behaviour = self.behaviour
        with self._lock:
            self.journal.batches.append(batch)
            self.journal.encrypted_batches += wire.cipher is not None
            if behaviour.batches_until_cut is not None:
                behaviour.batches_until_cut -= 1
                if behaviour.batches_until_cut < 0:
                    behaviour.batches_until_cut = None
                    raise Closed
        while (unanswered := behaviour.unanswered) is not None and unanswered in batch:
            # Not even an attention is.
            wire.attention(0.1)
        session.run(batch, values, types, of_procedure=kind == RPC)

    @staticmethod
    def _manage(wire: Wire, session: Session, message: bytes) -> None:
        """A request to the transaction manager, which python-tds makes in place of statements."""
        content = parameters.without_headers(message)
        request = int.from_bytes(content[:2], "little")
        try:
            if request == 5:
                session.begin()
            elif request == 7:
                session.commit()
            elif request == 8:
                session.rollback()
            # The flag asks for a new transaction at once.
            if request in (7, 8) and _begins_another(content):
                session.begin()
            wire.send(tokens.done(0))
        except SQLError as error:
            wire.send(tokens.message(error) + tokens.done(tokens.DONE_ERROR))
        wire.finish()


def _begins_another(content: bytes) -> bool:
    """TM_COMMIT_XACT and TM_ROLLBACK_XACT: a name, then flags of which the first bit is fBeginXact."""
    flags = 3 + content[2]
    return len(content) > flags and bool(content[flags] & 1)
