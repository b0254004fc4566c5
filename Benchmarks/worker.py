"""How long one worker takes for a job, without the agent: its own loop, over a socket that holds the jobs already.

`python -m Benchmarks.worker` prints the least µs per job of many short rounds, which a busy machine disturbs least, and
what each step takes of it: the steps with the clock's own time, so their sum is more.
"""

from __future__ import annotations

import argparse
import json
import platform
import socket
import struct
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from armada_agent.runtime import main as main_process
from armada_agent.runtime import process, wire, worker
from armada_agent.runtime.load import Loaded, load
from armada_agent.runtime.output import TextStream

from .headers import HEADERS

JOBS = 60
# What lies between two notes of the stopwatch, in turn; the empty ones are counted with the one before.
STEPS = (
    "receive the message",
    "unmarshal",
    "unmarshal",
    "unmarshal",
    "unmarshal",
    "unmarshal",
    "decode the body",
    "build the request",
    "Celery's tracer",
    "build the result",
    "send it",
    "go on",
)
INFO = ("properties", "reply_to", "correlation_id", "hostname", "delivery_info")
CODE = f"@app.task(name={HEADERS['task']!r}, acks_late=True)\ndef job(message):\n    pass\n"
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def marshalled(value: Any) -> bytes:
    """As the agent writes it: marshal's version 4 without references."""
    match value:
        case None:
            return b"N"
        case bool():
            return b"T" if value else b"F"
        case int():
            return b"i" + struct.pack("<i", value)
        case str():
            return b"z" + bytes([len(value)]) + value.encode("ascii")
        case list():
            return b"[" + struct.pack("<I", len(value)) + b"".join(map(marshalled, value))
        case dict():
            members = (marshalled(key) + marshalled(item) for key, item in value.items())
            return b"{" + b"".join(members) + b"0"
    raise TypeError(type(value))


def packet(ignores_result: bool, reports_start: bool) -> bytes:
    """The job as the agent sends it."""
    headers = {key: value for key, value in HEADERS.items() if key not in INFO}
    headers["ignore_result"] = ignores_result
    parts = (
        marshalled(headers),
        marshalled({key: HEADERS[key] for key in INFO}),
        json.dumps([[{"run_id": "a1b2", "url": "https://example.org"}], {}, EMBED]).encode(),
    )
    flags = wire.REPORT_START if reports_start else 0
    return wire.JOB.pack(0, flags, 0, 7, *map(len, parts)) + b"".join(parts)


def project(options: argparse.Namespace, streams: list[TextStream]) -> Loaded:
    """A project with one task that does nothing."""
    settings = {"result_backend": options.backend} if options.backend else {}
    code = f"app.conf.update({settings!r})\n{CODE}"
    request = {"mode": "armada", "message": {"code": code}, "run_id": "a1b2", "hostname": "worker0@host"}
    return load({**request, "broker_url": "amqp://", "queues": ["a1b2"]}, streams)


class Stopwatch:
    """Notes the time at each border between two steps."""

    def __init__(self) -> None:
        self.times: list[int] = []

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        note = self.times.append
        clock = time.perf_counter_ns

        def timed(*arguments: Any, **keywords: Any) -> Any:
            note(clock())
            try:
                return function(*arguments, **keywords)
            finally:
                note(clock())

        return timed


class Timed:
    """A socket whose one method is timed."""

    def __init__(self, connection: socket.socket, method: str, watch: Stopwatch) -> None:
        setattr(self, method, watch.around(getattr(connection, method)))


class Round:
    """One run of the loop over a socket that holds JOBS jobs and then ends."""

    def __init__(self, server: worker.Worker, message: bytes) -> None:
        self.server = server
        self.message = message

    def run(self, watch: Stopwatch | None = None) -> float:
        """Nanoseconds per job."""
        jobs, feed = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stream, results = socket.socketpair()
        with jobs, feed, stream, results:
            for _ in range(JOBS):
                feed.send(self.message, socket.MSG_DONTWAIT)
            feed.shutdown(socket.SHUT_WR)
            server: Any = self.server
            server.jobs = Timed(jobs, "recv_into", watch) if watch else jobs
            server.stream = Timed(stream, "sendall", watch) if watch else stream
            begun = time.perf_counter_ns()
            server.serve()
            ended = time.perf_counter_ns()
            stream.shutdown(socket.SHUT_WR)
            check(results)
        return (ended - begun) / JOBS


def check(results: socket.socket) -> None:
    """A loop that refuses its jobs is fast and worthless."""
    for _ in range(JOBS):
        kind, payload = wire.receive_frame(results)
        if kind == wire.STARTED:
            kind, payload = wire.receive_frame(results)
        if kind != wire.RESULT or payload[8] != wire.SUCCESS:
            raise RuntimeError(f"a frame of type {kind}, which was no success: {payload!r}")


def steps(server: worker.Worker, message: bytes, rounds: int, task: Any) -> dict[str, float]:
    """The least nanoseconds that each step took."""
    watch = Stopwatch()
    least = [float("inf")] * len(STEPS)
    patched: Any = worker
    tracer, unmarshal, body_decoder = task.__trace__, patched.unmarshal, patched.body_decoder
    try:
        task.__trace__ = watch.around(tracer)
        patched.unmarshal = watch.around(unmarshal)
        patched.body_decoder = lambda accept: watch.around(body_decoder(accept))
        for _ in range(rounds):
            watch.times.clear()
            Round(server, message).run(watch)
            borders = [later - earlier for earlier, later in pairwise(watch.times)]
            for start in range(0, JOBS * len(STEPS), len(STEPS)):
                least = list(map(min, least, borders[start : start + len(STEPS)]))
    finally:
        task.__trace__ = tracer
        patched.unmarshal, patched.body_decoder = unmarshal, body_decoder
    total: dict[str, float] = dict.fromkeys(STEPS, 0)
    for step, nanoseconds in zip(STEPS, least, strict=True):
        total[step] += nanoseconds
    return total


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m Benchmarks.worker", description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--backend", help="a result backend, e.g. cache+memory://; without it results are ignored")
    parser.add_argument("--reports-start", action="store_true", help="the worker reports that it begins a job")
    options = parser.parse_args(arguments)
    main_process.preload()
    streams = [TextStream(1, wire.STDOUT), TextStream(2, wire.STDERR)]
    loaded = project(options, streams)
    task = loaded.app.tasks[HEADERS["task"]]
    unused, _ = socket.socketpair()
    server = worker.Worker(loaded, 1, unused, unused, (0, 0))
    server.streams = streams
    process.initialise(loaded.app, server.hostname, 1)
    message = packet(not options.backend, options.reports_start)
    whole = min(Round(server, message).run() for _ in range(options.rounds))
    print(f"Python {platform.python_version()}: {whole / 1000:.1f} µs for a job")
    if options.reports_start:
        return
    for step, nanoseconds in steps(server, message, options.rounds, task).items():
        print(f"{nanoseconds / 1000:8.2f} µs  {step}")


if __name__ == "__main__":
    main(sys.argv[1:])
