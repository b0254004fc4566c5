"""`scripts/bench-modules`: monitoring calls through the agent, beside `requests` doing the same in the caller."""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import resource
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from multiprocessing.connection import Connection

import requests

from armada_agent.sdk.monitoring import MonitoringClient
from armada_testing.agent import agent_binary, agent_command

ANSWER = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Answers(asyncio.Protocol):
    """As small a server as can be, so that the callers are what is measured."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or b"0")
        if end and len(body) >= length:
            self.received = body[length:]
            self.transport.write(ANSWER)


def serve(ready: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0, backlog=512)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def body() -> dict[str, str]:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    return {
        "event_uuid": str(uuid.uuid4()),
        "event_content": "a step",
        "job_uuid": "job",
        "event_datetime": now,
        "event_status": "Success",
    }


def each_anew(url: str) -> Callable[[], object]:
    return lambda: requests.post(f"{url}/api/events/", json=body(), timeout=10).raise_for_status()


def one_session(url: str) -> Callable[[], object]:
    session = requests.Session()
    return lambda: session.post(f"{url}/api/events/", json=body(), timeout=10).raise_for_status()


def through_the_agent(_: str) -> Callable[[], object]:
    client = MonitoringClient("run", 0, "job")
    return lambda: client.record_success_event("a step")


SIDES = {"requests.post": each_anew, "requests.Session": one_session, "MonitoringClient": through_the_agent}


def measure(make: Callable[[str], Callable[[], object]], url: str, calls: int, threads: int) -> tuple[float, ...]:
    """Calls/s, p50 and p99 of a call in ms, CPU of this process per call in µs."""
    times: list[list[float]] = [[] for _ in range(threads)]
    begin = threading.Barrier(threads + 1)

    def work(own: list[float]) -> None:
        call = make(url)
        call()
        begin.wait()
        for _ in range(calls // threads):
            started = time.perf_counter()
            call()
            own.append(time.perf_counter() - started)

    workers = [threading.Thread(target=work, args=(own,)) for own in times]
    for worker in workers:
        worker.start()
    begin.wait()
    started, used = time.perf_counter(), cpu()
    for worker in workers:
        worker.join()
    seconds, used = time.perf_counter() - started, cpu() - used
    all_times = sorted(value * 1000 for own in times for value in own)
    count = len(all_times)
    return count / seconds, statistics.median(all_times), all_times[int(count * 0.99)], used / count * 1e6


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench-modules", description=__doc__)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    agent_command("agent")
    receiver, sender = multiprocessing.Pipe(False)
    server = multiprocessing.Process(target=serve, args=(sender,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{receiver.recv()}"
    os.environ.update(BACKEND_URL=url, AGENT_BINARY=str(agent_binary()))
    samples: dict[tuple[int, str], list[tuple[float, ...]]] = {}
    for _ in range(options.rounds):
        for threads in (1, 8):
            for name, make in SIDES.items():
                samples.setdefault((threads, name), []).append(measure(make, url, options.calls, threads))
    print("| threads | caller | calls/s | p50 | p99 | CPU of the caller per call |\n|--:|---|--:|--:|--:|--:|")
    for (threads, name), rounds in samples.items():
        rate, p50, p99, used = (statistics.median(values) for values in zip(*rounds, strict=True))
        print(f"| {threads} | `{name}` | {rate:,.0f} | {p50:.2f} ms | {p99:.2f} ms | {used:.0f} µs |")
    server.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
