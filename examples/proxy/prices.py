"""Reads and changes what goes through a mitmproxy of its own; a small shop on loopback is the site."""

from __future__ import annotations

import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from armada_agent.sdk.proxy import ProxyManager

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow


class Shop(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f'{{"item": "{self.path[1:]}", "price": {len(self.path)}, "for": "{self.headers["Accept-Language"]}"}}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


def speak(language: str) -> Any:
    def modifier(flow: HTTPFlow) -> None:
        flow.request.headers["Accept-Language"] = language

    return modifier


def capture(flow: HTTPFlow, queue: Any) -> None:
    queue.put(flow.response.json()["price"])


def discount(flow: HTTPFlow) -> None:
    price = flow.response.json()["price"]
    flow.response.text = flow.response.text.replace(str(price), str(price - 1))


def main() -> None:
    shop = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=shop.serve_forever, daemon=True).start()

    # Functions may be added before the launch, and after it.
    proxy = ProxyManager({"upstream_proxy_enabled": 0}).add_request_modifier(speak("fr")).launch_proxy()
    proxy.add_retriever("prices", capture).add_modifier(discount)
    client = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy.url}))
    for item in ("pen", "paper"):
        with client.open(f"http://127.0.0.1:{shop.server_port}/{item}", timeout=30) as answer:
            print(answer.read().decode())
    print("captured:", proxy.retrieve_all("prices"), "bytes:", proxy.get_data_count())
    proxy.exit_local_proxy()


if __name__ == "__main__":
    main()
