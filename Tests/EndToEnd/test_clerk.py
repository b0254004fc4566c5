"""Calls to the result backend: what becomes of them when it is down, hangs, or is asked for much."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from armada_agent.runtime import clerk as module
from armada_agent.runtime import wire
from armada_agent.runtime.clerk import Call, CallBook, Clerk, Overloaded, serve
from armada_agent.runtime.load import Loaded
from armada_testing.gate import Gate
from armada_testing.processes import wait_until
from armada_testing.redis_server import Redis


class Desk:
    """A clerk, watched as the main process watches it."""

    def __init__(self, url: str) -> None:
        app = Celery("clerk_tests", broker="memory://", backend=url, set_as_current=False)
        # What is tried again is tried again by the clerk, not within one attempt.
        app.conf.result_backend_transport_options = {"retry_policy": {"max_retries": 0}}
        self.app = app
        self.answers: dict[int, str | None] = {}
        self.forks = 0
        self.clerk = Clerk(self.fork, self.tell)

    def fork(self) -> tuple[int, socket.socket]:
        self.forks += 1
        mine, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            try:
                mine.close()
                serve(Loaded(self.app, worker=None, relays_output=False), theirs)  # type: ignore[arg-type]
            finally:
                os._exit(0)
        theirs.close()
        return pid, mine

    def tell(self, kind: int, identity: int, answer: bytes) -> None:
        assert identity not in self.answers
        self.answers[identity] = wire.split_sized(answer)[0] if kind == wire.CALL_FAILED else None

    def call(self, identity: int, seconds: float = 30, method: str = "backend.mark_as_failure", **more: Any) -> None:
        arguments = {
            "headers": {"id": f"id-{identity}", "task": "t"},
            "exception_type": "WorkerLostError",
            "exception": "gone",
            **more,
        }
        head = wire.CALL_HEAD.pack(identity, int(seconds * 1000), len(method))
        self.clerk.call(identity, int(seconds * 1000), head + method.encode() + json.dumps(arguments).encode())

    def work(self, seconds: float | None = None) -> None:
        """One turn of the main process's loop."""
        wait = self.clerk.timeout()
        limits = [each for each in (wait, seconds) if each is not None]
        watched = [self.clerk.descriptor] if self.clerk.descriptor >= 0 else []
        select.select(watched, watched if self.clerk.writes else [], [], min(limits, default=30))
        self.clerk.work()

    def settle(self, *identities: int) -> list[str | None]:
        """Until these are answered: None for a success, else the error's type."""
        deadline = time.monotonic() + 60
        while not set(identities) <= set(self.answers):
            assert time.monotonic() < deadline, self.answers
            self.work()
        return [self.answers[each] for each in identities]

    def state(self, identity: int) -> str:
        return str(self.app.AsyncResult(f"id-{identity}").state)


@pytest.fixture
def desk(backend: Redis) -> Iterator[Desk]:
    desk = Desk(backend.url)
    yield desk
    desk.clerk.stop()


def test_a_call_of_a_megabyte_is_made(desk: Desk) -> None:
    desk.call(1, info={"hostname": "x" * 3_000_000})
    assert desk.settle(1) == [None]
    assert desk.state(1) == "FAILURE"


def test_a_call_is_made_again_until_the_backend_is_back(desk: Desk, backend: Redis) -> None:
    backend.stop()
    desk.call(1)
    desk.call(2)
    deadline = time.monotonic() + 30
    while desk.clerk.book.waiting == [] or max(call.attempts for call in desk.clerk.book.waiting) < 2:
        assert time.monotonic() < deadline
        desk.work()
    assert desk.answers == {}
    backend.start()
    assert desk.settle(1, 2) == [None, None]
    assert (desk.state(1), desk.state(2)) == ("FAILURE", "FAILURE")
    assert desk.forks == 1


def test_a_backend_that_stays_down_is_told_in_time(desk: Desk, backend: Redis) -> None:
    backend.stop()
    desk.call(1, seconds=1)
    started = time.monotonic()
    assert desk.settle(1) == ["ConnectionError"]
    assert time.monotonic() - started < 30
    assert not desk.clerk.book
    assert desk.clerk.book.size == 0


def test_a_wrong_call_is_told_at_once(desk: Desk) -> None:
    desk.call(1, method="backend.nosuch")
    desk.call(2)
    assert desk.settle(1, 2) == ["CallError", None]
    assert desk.forks == 1


def test_a_backend_that_never_answers_costs_one_attempt_of_one_call(gate: Gate) -> None:
    desk = Desk(f"redis://127.0.0.1:{gate.port}/0")
    for identity in range(1, 6):
        desk.call(identity, seconds=6)
    deadline = time.monotonic() + 30
    while not gate.accepted:
        assert time.monotonic() < deadline
        desk.work(0.05)
    gate.is_open = True
    try:
        assert desk.settle(*range(1, 6)) == [None] * 5
    finally:
        desk.clerk.stop()
    assert desk.forks == 2
    assert [desk.state(identity) for identity in range(1, 6)] == ["FAILURE"] * 5


def test_a_backend_that_never_answers_is_told_in_time(gate: Gate) -> None:
    desk = Desk(f"redis://127.0.0.1:{gate.port}/0")
    for identity in (1, 2):
        desk.call(identity, seconds=1.5)
    try:
        assert desk.settle(1, 2) == ["TimeoutError", "TimeoutError"]
    finally:
        desk.clerk.stop()


def test_a_clerk_that_is_killed_loses_no_call(desk: Desk) -> None:
    desk.call(1)
    desk.settle(1)
    desk.clerk.stop()
    desk.call(2)
    os.kill(desk.clerk.pid, 9)
    assert desk.settle(2) == [None]
    assert desk.forks == 3


def test_reloaded_code_has_a_clerk_of_its_own(desk: Desk) -> None:
    desk.call(1)
    desk.clerk.replace()
    desk.call(2)
    assert desk.settle(1, 2) == [None, None]
    assert desk.forks == 2
    wait_until(lambda: desk.state(2) == "FAILURE", 5, "the second result")


def call(identity: int, deadline: float = 100, size: int = 1) -> Call:
    return Call(identity, b"x" * size, deadline, attempt_seconds=10)


def test_calls_are_made_in_order_and_a_failed_one_waits_behind_the_others() -> None:
    book = CallBook()
    for identity in (1, 2, 3):
        book.add(call(identity))
    first = book.begin(0)
    assert first is not None and first.identity == 1
    assert book.begin(0) is None
    assert book.fail(0, "E", "down") is None
    order = []
    while (begun := book.begin(0)) is not None:
        order.append(begun.identity)
        book.end()
    assert order == [2, 3]
    assert book.next_moment() == module.FIRST_PAUSE
    again = book.begin(module.FIRST_PAUSE)
    assert again is not None and (again.identity, again.attempts) == (1, 2)


def test_pauses_grow_and_attempts_are_bounded() -> None:
    book = CallBook()
    book.add(call(1, deadline=1e9))
    now = 0.0
    pauses = []
    while True:
        begun = book.begin(now)
        assert begun is not None
        given_up = book.fail(now, "E", "down")
        if given_up is not None:
            break
        pauses.append(begun.due - now)
        now = begun.due
    rounded = [round(pause, 6) for pause in pauses]
    assert rounded == sorted(rounded)
    assert rounded[-1] == module.LONGEST_PAUSE
    assert given_up.attempts == module.ATTEMPT_LIMIT
    assert not book


def test_what_waits_too_long_is_told_why() -> None:
    book = CallBook()
    book.add(call(1, deadline=5))
    book.begin(0)
    book.fail(4.9, "E", "down")
    assert not book
    book.add(call(2, deadline=5))
    book.add(call(3, deadline=5))
    book.begin(0)
    assert [(each.identity, each.kind) for each in book.expired(5)] == [(3, "TimeoutError")]
    assert book.hangs(5)
    assert not book.hangs(4)


def test_what_waits_is_bounded() -> None:
    book = CallBook()
    book.add(call(1, size=module.SIZE_LIMIT + 1))
    with pytest.raises(Overloaded):
        book.add(call(2))
    book.begin(0)
    book.end()
    for identity in range(module.CALL_LIMIT):
        book.add(call(identity))
    with pytest.raises(Overloaded):
        book.add(call(0))
