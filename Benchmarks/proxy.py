"""The proxy: how long a launch, a switch and an added function take, what a request costs, what mitmdump holds.

`python -m Benchmarks.proxy` prints the medians; the site is a small one on loopback, a switch goes to an upstream that
the configuration names (`direct`), so that no provider is waited for.
"""

from __future__ import annotations

import http.client
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from armada_agent.sdk.proxy import ProxyManager
from armada_testing.agent import agent_binary
from armada_testing.backend import Answer, Backend
from armada_testing.mitmproxy import mitmdumps
from armada_testing.processes import free_port, private_directory, signals_as_exit
from armada_testing.procfs import pss_bytes

LAUNCHES = 5
SWITCHES = 200
REQUESTS = 500
DIRECT = {"upstream_proxy_enabled": 1, "upstream_proxy_broker_type": "direct"}


def milliseconds(action: Callable[[], object], times: int) -> list[float]:
    """Of each time, in order of size."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        action()
        found.append((time.perf_counter() - begun) * 1000)
    return sorted(found)


def report(what: str, times: list[float]) -> None:
    print(f"{what}: median {statistics.median(times):.2f} ms, p99 {times[int(len(times) * 0.99)]:.2f} ms", flush=True)


def asking(site: Backend, proxy: ProxyManager | None) -> Callable[[], object]:
    """A request over a connection that is kept."""
    port = int(proxy.url.rpartition(":")[2]) if proxy is not None else site.port
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def ask() -> None:
        connection.request("GET", f"{site.url}/")
        connection.getresponse().read()

    ask()
    return ask


def mark(flow: object) -> None:
    flow.request.headers["mark"] = "1"  # type: ignore[attr-defined]


def measure(home: Path) -> None:
    os.environ.update(
        AGENT_BINARY=str(agent_binary()),
        AGENT_PROXY_PORT="0",
        AGENT_PROXY_CA_DIRECTORY=str(home),
        PROXY_PROVIDER_URL=f"http://user:password@127.0.0.1:{free_port()}",
    )
    manager = ProxyManager(DIRECT)
    begun = time.perf_counter()
    manager.launch_proxy()
    print(f"the first launch, which makes the authority: {time.perf_counter() - begun:.2f} s")
    manager.exit_local_proxy()

    def launch() -> None:
        ProxyManager({}).launch_proxy().exit_local_proxy()

    report("launch and exit", milliseconds(launch, LAUNCHES))
    manager.launch_proxy()
    report("switch", milliseconds(manager.switch_upstream_proxy, SWITCHES))
    report("adding a function", milliseconds(lambda: manager.add_modifier(mark), 20))
    with Backend(lambda _: Answer(200, b"x" * 1000)) as site:
        plain = ProxyManager({}).launch_proxy()
        report("a request without a proxy", milliseconds(asking(site, None), REQUESTS))
        report("a request through it", milliseconds(asking(site, plain), REQUESTS))
        plain.add_request_modifier(mark).add_retriever("all", lambda flow, queue: queue.put(flow.response.content))
        report("a request with a modifier and a retriever", milliseconds(asking(site, plain), REQUESTS))
        report("retrieving what one request left", milliseconds(lambda: plain.retrieve("all"), 50))
        for pid in mitmdumps(home):
            print(f"mitmdump holds {pss_bytes(pid) / (1 << 20):.0f} MiB (PSS)")


def main() -> None:
    with signals_as_exit(), private_directory("proxy") as home:
        measure(home)


if __name__ == "__main__":
    main()
