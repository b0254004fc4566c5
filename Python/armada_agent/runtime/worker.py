"""A worker: runs jobs one after another with Celery's own tracer, until its job socket ends."""

from __future__ import annotations

import marshal
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from types import FrameType
from typing import Any, NoReturn

from . import wire
from .decoding import JSON, body_decoder
from .load import Loaded
from .output import FrameSink, TextStream, tag_levels
from .tracing import tracer_builder

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


def marked_as_last(frame: bytes) -> bytes:
    """A RESULT frame that says that the worker ends after it."""
    place = wire.RESULT_FLAGS_OFFSET
    return b"".join((frame[:place], bytes([frame[place] | wire.LAST]), frame[place + 1 :]))


class Undecodable(Exception):
    """A message's body can't be decoded."""


class Malformed(Exception):
    """A message's body is of a shape that no Celery client writes."""


def decompressed(body: memoryview, compression: str) -> memoryview:
    """Undo compression, as kombu's `Message` does."""
    from kombu.compression import decompress

    return memoryview(decompress(bytes(body), compression))


def upgraded(body: dict[str, Any], headers: dict[str, Any], is_protocol_1: bool) -> tuple[Any, dict[str, Any]]:
    """A body of protocol 1, or one that mixes both protocols, as protocol 2's payload and headers."""
    from celery.exceptions import InvalidTaskError
    from celery.worker.strategy import hybrid_to_proto2, proto1_to_proto2

    if not is_protocol_1 and "args" not in body:
        raise Malformed("its body is an object without 'args', where [args, kwargs, embed] was expected")
    convert = proto1_to_proto2 if is_protocol_1 else hybrid_to_proto2
    try:
        payload, upgraded_headers, _, _ = convert(HeadersOnly(headers), body)
    except InvalidTaskError as error:
        raise Malformed(str(error)) from error
    return payload, upgraded_headers


class HeadersOnly:
    """What `celery.worker.strategy` reads of a message."""

    def __init__(self, headers: dict[str, Any]) -> None:
        self.headers = headers


def described(value: Any) -> str:
    """What a decoded body is, in few words."""
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    return "null" if value is None else f"of type {type(value).__name__}"


def refusal_frame(job: int, outcome: int, error: Exception) -> bytes:
    """The RESULT frame for a message that is no job."""
    payload = b"".join((wire.sized(str(error)), wire.sized(type(error).__name__), wire.sized(""), wire.sized("")))
    return wire.RESULT_HEAD.pack(21 + len(payload), wire.RESULT, job, outcome, 0, 0, 0.0) + payload


class Current:
    """The job that runs now, or 0; read by signal handlers."""

    job = 0


current = Current()


def failure_frame(job: int, info: Any, runtime: float | None) -> bytes:
    """The RESULT frame for a job that did not end well; with no `info`, for the exception being handled."""
    from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
    from celery.exceptions import Ignore, Reject, Retry
    from celery.utils.saferepr import saferepr
    from celery.utils.serialization import get_pickled_exception

    traced = info is not None
    if info is None:
        info = ExceptionInfo()
    error = info.exception
    if isinstance(error, ExceptionWithTraceback):
        error = error.exc
    flags = 0
    described = error
    if isinstance(error, Reject):
        outcome = wire.REJECT
        flags = wire.REQUEUE if error.requeue else 0
    elif isinstance(error, Ignore):
        outcome = wire.IGNORE
    elif isinstance(error, Retry):
        outcome = wire.RETRY
        described = error.exc
    else:
        outcome = wire.FAILURE if traced else wire.UNTRACED
        described = get_pickled_exception(error)
    try:
        when = str(error.when) if outcome == wire.RETRY and error.when is not None else ""
    except Exception:
        when = ""
    payload = b"".join(
        (
            wire.sized(saferepr(described)),
            wire.sized(type(described).__name__),
            wire.sized(str(info.traceback or "")),
            wire.sized(when),
        )
    )
    head = wire.RESULT_HEAD.pack(21 + len(payload), wire.RESULT, job, outcome, flags, 0, runtime or 0.0)
    return head + payload


def restore(value: Any) -> Any:
    """Turn the stand-ins for AMQP timestamps and decimals back into Python's own, as py-amqp gives them."""
    if isinstance(value, dict):
        return {key: restore(item) for key, item in value.items()}
    if isinstance(value, list):
        return [restore(item) for item in value]
    if isinstance(value, tuple) and len(value) == 2:
        if value[0] == "\0T":
            # In UTC and without saying so, as py-amqp has it.
            return datetime.fromtimestamp(value[1], tz=timezone.utc).replace(tzinfo=None)
        if value[0] == "\0D":
            return Decimal(value[1])
    return value


def initialise(app: Any, hostname: str, index: int) -> None:
    """What `celery.concurrency.prefork.process_initializer` and billiard's worker do at their start."""
    import celery
    from billiard.process import current_process
    from celery import platforms, signals
    from celery._state import _set_task_join_will_block, set_default_app
    from celery.app import trace

    _set_task_join_will_block(True)
    name_process(current_process(), index)
    standard = sys.modules.get("multiprocessing.process")
    if standard is not None:
        name_process(standard.current_process(), index)
    for module_name in ("billiard.util", "multiprocessing.util"):
        module = sys.modules.get(module_name)
        if module is not None:
            module._run_after_forkers()
    install_signal_handlers()
    platforms.set_mp_process_title("celeryd", hostname=hostname)
    app.loader.init_worker()
    app.loader.init_worker_process()
    logfile = os.environ.get("CELERY_LOG_FILE") or None
    if logfile and "%i" in logfile.lower():
        # Each process has a file of its own.
        app.log.already_setup = False
    app.log.setup(
        int(os.environ.get("CELERY_LOG_LEVEL") or 0),
        logfile,
        bool(os.environ.get("CELERY_LOG_REDIRECT")),
        os.environ.get("CELERY_LOG_REDIRECT_LEVEL") or None,
        hostname=hostname,
    )
    app.set_current()
    set_default_app(app)
    app.finalize()
    trace._tasks = app._tasks
    build_tracer = tracer_builder()
    for name, task in app.tasks.items():
        task.__trace__ = build_tracer(name, task, app.loader, hostname, app=app)
    state = sys.modules.get("celery.worker.state")
    if state is not None:
        state.reset_state()
    signals.worker_process_init.send(sender=hostname if celery.VERSION >= (5, 7) else None)


def name_process(process: Any, index: int) -> None:
    """Name a process object as Celery's pool does; logs show it."""
    process._name = f"ForkPoolWorker-{index}"
    process.index = index - 1


def install_signal_handlers() -> None:
    """The dispositions of a prefork child: terminate in order, ignore the terminal, raise the soft limit."""
    for number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, leave)
    if os.environ.get("REMAP_SIGTERM") == "SIGQUIT":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, soft_limit)


def leave(number: int, _: FrameType | None) -> None:
    """End the process by way of its `finally` blocks; a second signal ends it at once."""
    signal.signal(number, signal.SIG_DFL)
    sys.exit(-(256 - number))


def soft_limit(_: int, __: FrameType | None) -> None:
    """Raise in the task, and only there."""
    if current.job:
        from billiard.exceptions import SoftTimeLimitExceeded

        raise SoftTimeLimitExceeded


def exit_code(request: SystemExit) -> int:
    """The status that Python gives a process which ends with `request`."""
    if request.code is None:
        return 0
    if isinstance(request.code, int):
        return request.code
    print(request.code, file=sys.stderr)
    return 1


def finish(code: int, streams: list[TextStream]) -> NoReturn:
    """Fire the shutdown signal, run the finalizers of a forked process, and exit without the interpreter's own."""
    from celery import signals

    guarded(lambda: signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=code))
    for module_name in ("billiard.util", "multiprocessing.util"):
        module = sys.modules.get(module_name)
        if module is not None:
            guarded(module._exit_function)
    for stream in streams:
        guarded(stream.finish_line)
    os._exit(code & 0xFF)


def guarded(action: Callable[[], object]) -> None:
    """Run one step of leaving; its failure is shown and doesn't stop the others."""
    try:
        action()
    except BaseException:
        try:
            traceback.print_exc()
        except BaseException:
            pass
