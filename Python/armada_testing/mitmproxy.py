"""Real upstream proxies: mitmproxy's mitmdump, which asks for credentials and tells what came through it."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from armada_agent import mitmproxy_packages

from .processes import NotReady, Process

# Tells where it listens, and each request and tunnel, in lines of JSON.
_SCRIPT = """
import json, os
from mitmproxy import ctx

def note(**facts):
    with open(os.environ["JOURNAL"], "a") as journal:
        journal.write(json.dumps(facts) + chr(10))

def told(kind, flow):
    note(kind=kind, target=flow.request.pretty_url if kind == "request" else flow.request.pretty_host,
         headers={name.lower(): value for name, value in flow.request.headers.items()},
         connection=flow.client_conn.peername[1], tls=flow.client_conn.tls_established)

class Journal:
    def running(self):
        note(kind="ready", port=ctx.master.addons.get("proxyserver").listen_addrs()[0][1])
    def request(self, flow):
        told("request", flow)
    def http_connect(self, flow):
        told("connect", flow)

addons = [Journal()]
"""


@dataclass(frozen=True)
class Authority:
    """A certificate authority of one test, and a certificate of it for localhost."""

    certificate: Path
    server: ssl.SSLContext

    @classmethod
    def make(cls, folder: Path) -> Authority:
        def openssl(*arguments: str) -> None:
            subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

        key = ("-newkey", "rsa:2048", "-nodes")
        openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
        openssl("req", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
        (folder / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions")
        openssl("x509", "-req", "-in", "server.csr", "-out", "server.pem", *signing)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        return cls(folder / "ca.pem", context)


class UpstreamProxy:
    """`with UpstreamProxy(folder, …) as upstream:` listens on a port of its own, on loopback.

    It reads TLS, too: whoever asks through it gets certificates of its own authority.

    Args:
        home: a folder for its files.
        credentials: `user:password`, which clients must give.
        mode: of mitmproxy: `regular` (http and https) or `socks5`.
    """

    def __init__(self, home: Path, *, credentials: str = "", mode: str = "regular") -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.journal = home / "journal"
        self.journal.touch()
        self.authority = home / "mitmproxy-ca-cert.pem"
        script = home / "journal_script.py"
        script.write_text(_SCRIPT)
        program = mitmproxy_packages.mitmdump()
        if program is None:
            raise NotReady("no mitmdump: run scripts/setup")
        options = ["--listen-host", "127.0.0.1", "--listen-port", "0", "--set", f"confdir={home}", "-s", str(script)]
        # Not by the command line, which everybody can read. The sites of tests have certificates of their own making.
        (home / "config.yaml").write_text(json.dumps({"proxyauth": credentials or None, "ssl_insecure": True}))
        environment = {**os.environ, "JOURNAL": str(self.journal)}
        self.process = Process([program, "--mode", mode, *options], home / "log", environment)
        self._credentials = credentials
        self.port = 0

    def __enter__(self) -> UpstreamProxy:
        self.port = self.process.wait_ready(self._port, 60, "mitmdump listens")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()

    def url(self, scheme: str, host: str = "127.0.0.1") -> str:
        at = ":".join(quote(part, safe="") for part in self._credentials.split(":")) + "@" if self._credentials else ""
        return f"{scheme}://{at}{host}:{self.port}"

    def told(self, kind: str | None = None) -> list[dict[str, Any]]:
        """What came through it: requests, read also where they come by TLS, and tunnels (`connect`)."""
        lines = [line for line in self.journal.read_text().splitlines(keepends=True) if line.endswith("\n")]
        facts = [json.loads(line) for line in lines]
        return [fact for fact in facts if fact["kind"] == kind or (kind is None and fact["kind"] != "ready")]

    def _port(self) -> int | None:
        ready = self.told("ready")
        return int(ready[0]["port"]) if ready else None


def mitmdumps(authorities: Path) -> list[int]:
    """The processes of all proxies that use this folder of authorities."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"confdir={authorities}".encode() in arguments:
            found.append(int(entry.name))
    return found


def arguments_and_logs(log: str) -> str:
    """The command lines of all processes, and a log: where no secret may be."""
    lines = []
    for entry in Path("/proc").iterdir():
        if re.fullmatch(r"\d+", entry.name):
            try:
                lines.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return "\n".join([*lines, log])
