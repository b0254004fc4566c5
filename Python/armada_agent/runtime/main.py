"""The Python main process: loads the user's code once, forks workers, and reports their ends.

It is single-threaded, so that forking is safe, and does nothing slow but to load: what may hang goes to the clerk.
"""

from __future__ import annotations

import array
import gc
import importlib.util
import json
import math
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from .. import connector, mitmproxy_packages
from . import wire
from .clerk import Clerk, serve
from .output import TextStream

CONTROL_DESCRIPTOR = 3
SPAWN_DESCRIPTOR = 4
# How long the end is delayed for what is being written to the result backend.
LEAVE_SECONDS = 1.5
# Celery's switch for its stacks of running tasks.
SWITCH = "USE_FAST_LOCALS"


@dataclass
class Child:
    """A forked worker that has not been reaped."""

    pid: int
    index: int
    generation: int


class Main:
    """The main process."""

    def __init__(self, streams: list[TextStream]) -> None:
        self.control = socket.socket(fileno=CONTROL_DESCRIPTOR)
        self.spawns = socket.socket(fileno=SPAWN_DESCRIPTOR)
        for each in (self.control, self.spawns):
            each.set_inheritable(False)
        self.streams = streams
        self.children: dict[int, Child] = {}
        self.loaded: Any = None
        self.limits = (0, 0)
        self.received = bytearray()
        self.clerk: Clerk | None = None
        # Whether code of the user's runs, and so no frame is being sent.
        self.is_held = False
        # When the process ends, once it has been told to.
        self.leave_at: float | None = None
        self.wakeup_read, self.wakeup_write = os.pipe()
        for descriptor in (self.wakeup_read, self.wakeup_write):
            os.set_blocking(descriptor, False)

    def run(self) -> None:
        """Boot, then serve until the agent is gone or says stop."""
        signal.set_wakeup_fd(self.wakeup_write, warn_on_full_buffer=False)
        # Handlers in place of SIG_IGN, so that what the user's code executes starts with the defaults.
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT):
            signal.signal(number, nothing)
        wire.send_frame(self.control, wire.BOOTED, os.getpid().to_bytes(4, "little"))
        preload()
        poll = select.poll()
        for source in (self.control.fileno(), self.spawns.fileno(), self.wakeup_read):
            poll.register(source, select.POLLIN)
        watched = -1
        while True:
            if watched >= 0:
                poll.unregister(watched)
            watched = -1
            if self.clerk is not None and self.clerk.descriptor >= 0:
                watched = self.clerk.descriptor
                poll.register(watched, select.POLLIN | (select.POLLOUT if self.clerk.writes else 0))
            ready = {descriptor for descriptor, _ in poll.poll(self.timeout())}
            if self.wakeup_read in ready:
                drain(self.wakeup_read)
            # Always: a signal that arrived while user code replaced the wake-up descriptor is not missed.
            self.reap()
            if self.clerk is not None:
                self.clerk.work()
            if self.leave_at is not None and not self.is_awaited(self.leave_at):
                self.end()
            # What was asked for first: `worker_ready` is fired when the workers have been forked.
            while self.spawns.fileno() in ready and self.fork_worker():
                pass
            if self.control.fileno() in ready and not self.receive():
                self.end()

    def is_awaited(self, moment: float) -> bool:
        """Whether there are calls that the end is to wait for, until a moment at the latest."""
        return self.clerk is not None and bool(self.clerk.book) and time.monotonic() < moment

    def timeout(self) -> int:
        """How long to wait, in milliseconds."""
        seconds = 1.0 if self.children else 60.0
        if self.clerk is not None:
            wait = self.clerk.timeout()
            seconds = min(seconds, seconds if wait is None else wait)
        if self.leave_at is not None:
            seconds = min(seconds, max(0.0, self.leave_at - time.monotonic()))
        # Rounded up, not to wake a moment too early.
        return math.ceil(seconds * 1000)

    def receive(self) -> bool:
        """Read what has come over the control socket and act on its frames; False when it is time to end."""
        data = self.control.recv(1 << 18)
        if not data:
            return False
        self.received += data
        while len(self.received) >= 5:
            length, kind = wire.HEADER.unpack_from(self.received)
            if not 1 <= length <= wire.FRAME_LIMIT:
                raise ValueError(f"frame of {length} bytes")
            if len(self.received) < 4 + length:
                break
            payload = bytes(self.received[5 : 4 + length])
            del self.received[: 4 + length]
            if not self.handle(kind, payload):
                return False
        return True

    def handle(self, kind: int, payload: bytes) -> bool:
        """Act on one frame; False to end at once."""
        if kind == wire.LOAD:
            self.load(payload)
        elif kind == wire.CALL:
            self.call(payload)
        elif kind == wire.RELOAD:
            self.reload(payload)
        elif kind == wire.STOP:
            self.leave_at = time.monotonic() + LEAVE_SECONDS
            return self.is_awaited(self.leave_at)
        return True

    def load(self, payload: bytes) -> None:
        """Load the user's code and report the manifest, or what is wrong."""
        from .errors import LoadError
        from .load import load, manifest

        try:
            request = json.loads(payload)
            loaded = load(request, self.streams)
            worker = loaded.worker
            self.limits = (int(worker.max_tasks_per_child or 0), int(worker.max_memory_per_child or 0))
            result = manifest(loaded)
        except LoadError as error:
            self.fail_load(error)
            return
        except BaseException as error:
            from .load import described

            self.fail_load(described(error))
            return
        self.loaded = loaded
        self.report_loaded(result)

    def reload(self, payload: bytes) -> None:
        """Import modules, anew if asked to, and report the manifest as it is then, or what is wrong."""
        from .errors import LoadError
        from .load import described, manifest
        from .reloading import import_modules

        gc.unfreeze()
        try:
            if self.loaded is None:
                raise LoadError("invalid", "nothing is loaded yet")
            import_modules(self.loaded.app, json.loads(payload))
            result = manifest(self.loaded)
        except BaseException as error:
            self.fail_load(error if isinstance(error, LoadError) else described(error))
            share_memory()
        else:
            self.report_loaded(result)
            if self.clerk is not None:
                self.clerk.replace()

    def report_loaded(self, result: dict[str, Any]) -> None:
        """Report the manifest, and make ready to fork: the code that has run may have changed what that needs."""
        signal.set_wakeup_fd(self.wakeup_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, nothing)
        signal.signal(signal.SIGUSR1, self.tell_whereabouts)
        self.flush()
        wire.send_json(self.control, wire.LOADED, result)
        share_memory()

    def fail_load(self, error: Any) -> None:
        """Report why the code can't be run."""
        self.flush()
        texts = wire.sized(error.kind) + wire.sized(error.message) + wire.sized(error.text)
        wire.send_frame(self.control, wire.LOAD_FAILED, texts)

    def flush(self) -> None:
        """Send unfinished lines before a frame that says the code has run."""
        for stream in self.streams:
            stream.finish_line()

    def call(self, payload: bytes) -> None:
        """Answer a call, here or by way of the clerk."""
        identity, milliseconds, method_length = wire.CALL_HEAD.unpack_from(payload)
        start = wire.CALL_HEAD.size
        method = payload[start : start + method_length].decode("utf-8", "replace")
        if method.startswith("backend."):
            if self.loaded is None:
                self.fail_call(identity, "CallError", "nothing is loaded yet")
                return
            if self.clerk is None:
                self.clerk = Clerk(self.fork_clerk, self.tell)
            self.clerk.call(identity, milliseconds, payload)
            return
        try:
            arguments = json.loads(payload[start + method_length :] or b"null")
            answer = self.perform(method, arguments)
        except BaseException as error:
            self.fail_call(identity, type(error).__name__, str(error))
            return
        wire.send_json(self.control, wire.REPLY, answer, identity.to_bytes(8, "little"))

    def perform(self, method: str, arguments: Any) -> Any:
        """Make a call."""
        from .calls import perform

        self.is_held = True
        try:
            return perform(self.loaded, method, arguments)
        finally:
            self.is_held = False

    def tell_whereabouts(self, _: int, frame: FrameType | None) -> None:
        """The agent asks what takes so long."""
        if not self.is_held or frame is None:
            return
        try:
            from .whereabouts import whereabouts

            function, place = whereabouts(frame)
            wire.send_frame(self.control, wire.HELD_UP, wire.sized(function) + wire.sized(place))
        except Exception as error:
            # It must not come out in the user's code.
            print(f"whereabouts: {error!r}", file=sys.stderr)

    def tell(self, kind: int, identity: int, answer: bytes) -> None:
        """Report a call's answer: a REPLY or a CALL_FAILED frame."""
        wire.send_frame(self.control, kind, identity.to_bytes(8, "little") + answer)

    def fail_call(self, identity: int, kind: str, message: str) -> None:
        """Report that a call failed."""
        self.tell(wire.CALL_FAILED, identity, wire.sized(kind) + wire.sized(message))

    def fork_worker(self) -> bool:
        """Take one SPAWN message and fork the worker that it asks for; False if there is none."""
        descriptors = array.array("i")
        # Not `socket.recv_fds`, which leaves its flags aside.
        flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
        try:
            message, control, _, _ = self.spawns.recvmsg(64, socket.CMSG_SPACE(16 * descriptors.itemsize), flags)
        except BlockingIOError:
            return False
        for level, kind, data in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data)
        if not message:
            self.end()
        index, generation = wire.SPAWN.unpack_from(message)
        if self.loaded is not None and self.loaded.worker is not None:
            self.before_fork()
        self.flush()
        try:
            pid = os.fork()
        except OSError as error:
            # No memory, or as many processes as are allowed: the agent tries again, after pauses.
            print(f"a worker can't be forked: {error}", file=sys.stderr)
            self.report_exit(Child(0, index, generation), -1, 0)
        else:
            if pid == 0:
                self.become_worker(index, generation, descriptors.tolist())
            self.children[pid] = Child(pid, index, generation)
            self.control.sendall(wire.FORKED.pack(13, wire.WORKER_FORKED, index, generation, pid))
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def before_fork(self) -> None:
        """Fire `worker_before_create_process`."""
        from celery import signals

        self.is_held = True
        try:
            signals.worker_before_create_process.send(sender=self.loaded.worker)
        except Exception as error:
            print(f"worker_before_create_process: {error!r}", file=sys.stderr)
        finally:
            self.is_held = False

    def become_worker(self, index: int, generation: int, descriptors: list[int]) -> NoReturn:
        """In the child: leave the main process behind and run jobs."""
        try:
            self.leave_parent()
            jobs_descriptor, stream_descriptor, stdout, stderr, *_ = descriptors
            os.dup2(stdout, 1)
            os.dup2(stderr, 2)
            os.close(stdout)
            os.close(stderr)
            from .worker import Worker

            jobs = socket.socket(fileno=jobs_descriptor)
            stream = socket.socket(fileno=stream_descriptor)
            worker = Worker(self.loaded, index, jobs, stream, self.limits)
            worker.run(self.streams)
        except BaseException as error:
            os.write(2, f"worker {index}.{generation} did not start: {error!r}\n".encode(errors="replace"))
        os._exit(70)

    def leave_parent(self) -> None:
        """In a forked child: die with the main process, and close what belongs to it."""
        from billiard.util import set_pdeathsig

        parent = os.getppid()
        set_pdeathsig(signal.SIGKILL)
        if os.getppid() != parent or parent == 1:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        self.control.close()
        self.spawns.close()
        os.close(self.wakeup_read)
        os.close(self.wakeup_write)
        if self.clerk is not None and self.clerk.connection is not None:
            self.clerk.connection.close()

    def fork_clerk(self) -> tuple[int, socket.socket]:
        """Fork the process that makes the slow calls."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.flush()
        pid = os.fork()
        if pid == 0:
            try:
                mine.close()
                self.leave_parent()
                serve(self.loaded, theirs)
            except BaseException as error:
                os.write(2, f"clerk: {error!r}\n".encode(errors="replace"))
            os._exit(0)
        theirs.close()
        return pid, mine

    def reap(self) -> None:
        """Report the workers that have ended. Only known children: the user's code may have its own."""
        for child in list(self.children.values()):
            try:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = child.pid, 0
            if pid == 0:
                continue
            del self.children[child.pid]
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
            self.report_exit(child, code, number)

    def report_exit(self, child: Child, code: int, number: int) -> None:
        """Report that a worker has ended, or could not be forked: its exit status, or -1, and the signal, or 0."""
        frame = wire.EXITED.pack(21, wire.WORKER_EXITED, child.index, child.generation, child.pid, code, number)
        self.control.sendall(frame)

    def end(self) -> NoReturn:
        """Leave, and take every child along."""
        for child in self.children.values():
            try:
                os.kill(child.pid, signal.SIGKILL)
            except OSError:
                pass
        if self.clerk is not None:
            self.clerk.stop()
        self.flush()
        os._exit(0)


def nothing(_: int, __: object) -> None:
    """Be woken by a signal."""


def drain(descriptor: int) -> None:
    """Empty a pipe."""
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        pass


def share_memory() -> None:
    """Make ready to fork: what lives now is shared, and the collector must not touch, and so copy, its pages."""
    gc.collect()
    return_free_memory()
    gc.freeze()


def return_free_memory() -> None:
    """Give the C library's free memory back to the system, which it does not do by itself: imports leave holes."""
    ctypes = sys.modules.get("ctypes")
    if ctypes is None:
        # Celery has imported it as a rule; to import it for this would cost more than it gives.
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def choose_locals() -> None:
    """Have Celery keep the running task in a `threading.local`, by its own switch, where that makes no difference.

    Celery's usual stack, in Python, is there for greenlets, of which each has its own; it takes a fifth of the time
    that a job costs. Where there are no greenlets, it goes by threads as well.
    """
    if SWITCH in os.environ or importlib.util.find_spec("greenlet") is not None:
        return
    os.environ[SWITCH] = "1"
    try:
        import celery.utils.threads  # noqa: F401
    finally:
        # Not for what the user's code starts.
        del os.environ[SWITCH]


def preload() -> None:
    """Import what every worker needs, while the agent is still reaching its servers."""
    choose_locals()
    import celery.app.amqp
    import celery.app.log
    import celery.app.task
    import celery.app.trace
    import celery.backends.base
    import celery.loaders.app
    import celery.signals  # noqa: F401
    import kombu.serialization  # noqa: F401

    from . import calls, load, worker  # noqa: F401


def main() -> None:
    """Entry point."""
    out = TextStream(1, wire.STDOUT)
    err = TextStream(2, wire.STDERR)
    sys.stdout = sys.__stdout__ = out  # type: ignore[assignment, misc]
    sys.stderr = sys.__stderr__ = err  # type: ignore[assignment, misc]
    sys.argv = ["armada-agent"]
    connector.inherit()
    mitmproxy_packages.install()
    Main([out, err]).run()
