"""A worker: runs jobs one after another with Celery's own tracer, until its job socket ends."""

from __future__ import annotations

import marshal
import os
import resource
import socket
import threading
import traceback
from typing import NoReturn

from . import wire
from .bodies import Malformed, Undecodable, decompressed, described, restore, upgraded
from .decoding import JSON, body_decoder
from .load import Loaded
from .output import FrameSink, TextStream, tag_levels
from .process import current, exit_code, finish, initialise
from .results import failure_frame, marked_as_last, refusal_frame

RECYCLE = 155

unmarshal = marshal.loads


class Worker:
    """The state of one forked worker process."""

    def __init__(
        self,
        loaded: Loaded,
        index: int,
        jobs: socket.socket,
        stream: socket.socket,
        limits: tuple[int, int],
    ) -> None:
        self.app = loaded.app
        self.hostname = loaded.worker.hostname
        self.relays_output = loaded.relays_output
        self.index = index
        self.jobs = jobs
        self.stream = stream
        self.maximum_tasks, self.maximum_memory = limits
        self.done = 0
        # Threads of the user's may print while a result is sent.
        self.lock = threading.RLock()
        self.sink = FrameSink(stream, self.lock)
        self.streams: list[TextStream] = []

    def run(self, streams: list[TextStream]) -> NoReturn:
        """Initialise as Celery's prefork child does, serve jobs, and leave the process."""
        code = 1
        try:
            self.streams = streams
            if self.relays_output and self.app.conf.worker_redirect_stdouts:
                for each in streams:
                    each.redirect(self.sink)
                tag_levels(streams)
            initialise(self.app, self.hostname, self.index)
            self.stream.sendall(wire.HEADER.pack(5, wire.READY) + os.getpid().to_bytes(4, "little"))
            code = self.serve()
        except SystemExit as exit_request:
            code = exit_code(exit_request)
        except KeyboardInterrupt:
            code = 1
        except (BrokenPipeError, ConnectionResetError, wire.ConnectionLost):
            code = 1
        except BaseException:
            text = traceback.format_exc()
            try:
                wire.send_frame(self.stream, wire.FATAL, wire.encode(text))
            except OSError:
                pass
        finish(code, self.streams)

    def serve(self) -> int:
        """Run jobs until the socket ends: the exit code."""
        from kombu.serialization import prepare_accept_content

        # As `celery.app.trace.fast_trace_task` does, with the steps apart, so that a body which can't be decoded is
        # told from a task that fails.
        tasks = self.app._tasks
        hostname = self.hostname
        decode = body_decoder(prepare_accept_content(self.app.conf.accept_content))
        sink = self.sink
        out, err = self.streams
        buffer = bytearray(wire.JOB_LIMIT)
        view = memoryview(buffer)
        receive = self.jobs.recv_into
        sendall = self.stream.sendall
        lock = self.lock

        def send(frame: bytes) -> None:
            with lock:
                sendall(frame)

        loads = unmarshal
        unpack = wire.JOB.unpack_from
        offset = wire.JOB.size
        pack = wire.RESULT_HEAD.pack
        limited = bool(self.maximum_tasks or self.maximum_memory)
        # A result that goes out with the word that the next job has begun, if that is here already: one write for both.
        held = b""
        while True:
            if held:
                try:
                    count = receive(buffer, 0, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    send(held)
                    held = b""
                    count = receive(buffer)
            else:
                count = receive(buffer)
            if not count:
                if held:
                    send(held)
                return 0
            _, flags, _, job, headers_length, info_length, body_length = unpack(buffer)
            sink.job = job
            # From here on a soft time limit may be raised, so nothing of the job is outside of the `try`.
            try:
                current.job = job
                if flags & wire.FETCH_BODY:
                    send(held + wire.NUMBER.pack(9, wire.FETCH, job))
                    held = b""
                    kind, data = wire.receive_frame(self.stream)
                    if kind != wire.BODY:
                        raise ValueError(f"frame of type {kind} in place of a body")
                    source = memoryview(data)
                    start = 0
                else:
                    source = view
                    start = offset
                middle = start + headers_length
                end = middle + info_length
                headers = loads(source[start:middle])
                info = loads(source[middle:end])
                if flags & wire.EXOTIC:
                    headers = restore(headers)
                    info = restore(info)
                body = source[end : end + body_length]
                properties = info["properties"]
                properties["application_headers"] = headers
                content_type = properties.get("content_type")
                if held and (content_type != JSON or headers.get("compression")):
                    # It may take long, or run code of others.
                    send(held)
                    held = b""
                try:
                    if headers.get("compression"):
                        body = decompressed(body, headers["compression"])
                    payload = decode(body, content_type, properties.get("content_encoding"))
                except Exception as error:
                    raise Undecodable(f"{type(error).__name__}: {error}") from error
                if type(payload) is dict:
                    payload, headers = upgraded(payload, headers, bool(flags & wire.PROTOCOL_1))
                try:
                    args, kwargs, embed = payload
                except (TypeError, ValueError):
                    found = described(payload)
                    raise Malformed(f"its body is {found}, where [args, kwargs, embed] was expected") from None
                # Only now: a message that turns out to be none must not be acknowledged as begun.
                if flags & wire.REPORT_START:
                    send(held + wire.NUMBER.pack(9, wire.STARTED, job))
                    held = b""
                elif held:
                    send(held)
                    held = b""
                request = {
                    **headers,
                    **info,
                    "args": args,
                    "kwargs": kwargs,
                    "hostname": hostname,
                    "is_eager": False,
                    **(embed or {}),
                }
                value, problem, runtime, text = tasks[headers["task"]].__trace__(headers["id"], args, kwargs, request)
                failed = bool(problem)
                if not failed:
                    value = text
            except Undecodable as error:
                current.job = 0
                frame = refusal_frame(job, wire.UNDECODABLE, error)
            except Malformed as error:
                current.job = 0
                frame = refusal_frame(job, wire.MALFORMED, error)
            except Exception:
                current.job = 0
                frame = failure_frame(job, None, 0.0)
            else:
                current.job = 0
                if failed:
                    frame = failure_frame(job, value, runtime)
                else:
                    text = b"" if value is None else value.encode("utf-8", "backslashreplace")
                    frame = pack(21 + len(text), wire.RESULT, job, wire.SUCCESS, 0, 0, runtime or 0.0) + text
            if out._size or err._size or out._buffer is not None or err._buffer is not None:
                out.finish_line()
                err.finish_line()
            is_last = limited and self.reaches_limit()
            if is_last:
                # With the result, so that what waits in the socket goes to another worker before this one has left.
                frame = marked_as_last(frame)
            if held:
                # This job was refused, or ended before it began.
                frame = held + frame
                held = b""
            if is_last:
                send(frame)
                return RECYCLE
            if flags & wire.REPORT_START:
                held = frame
            else:
                send(frame)
            sink.job = 0

    def reaches_limit(self) -> bool:
        """Count a job that has ended; whether it was the last that this process may run."""
        self.done += 1
        if self.maximum_tasks and self.done >= self.maximum_tasks:
            return True
        if not self.maximum_memory:
            return False
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > self.maximum_memory
