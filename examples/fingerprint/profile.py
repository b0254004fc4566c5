"""Asks a provider for a fingerprint; a small one on loopback answers, which tells what it was asked."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from armada_agent.sdk import ModuleError
from armada_agent.sdk.fingerprint import FingerprintManager


class Provider(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503 if b'"none"' in asked else 200)
        body = b"out of stock" if b'"none"' in asked else b'{"made for": ' + asked + b"}"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    provider = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    # In a pod the environment names it.
    os.environ["FINGERPRINT_PROVIDER_URL"] = f"http://127.0.0.1:{provider.server_port}"

    manager = FingerprintManager({"os": "linux", "browser": "chromium"})
    print(manager.get_fingerprint())
    print(manager.get_fingerprint({"country": "FR"}))
    try:
        manager.get_fingerprint({"os": "none"})
    except ModuleError as error:
        print(f"{error.kind}: {error}")


if __name__ == "__main__":
    main()
