"""What the worker does in fewer steps than Celery and kombu, beside what they make of the same."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from copy import copy
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, signals
from celery.app import trace
from celery.exceptions import Ignore, Reject
from kombu.serialization import dumps, loads, prepare_accept_content, registry

from armada_agent.runtime import decoding, tracing
from armada_testing import REPOSITORY
from armada_testing.messages import good_headers

SIGNALS = ("task_prerun", "task_postrun", "task_success", "task_failure", "task_retry", "task_internal_error")
TASK_ID = "8635e51f-4aff-4110-98fe-084f5d6bef62"
REQUEST: dict[str, Any] = {
    **good_headers("tasks.job", TASK_ID, argsrepr="('é日本',)", origin="gen1@here", ignore_result=False),
    "properties": {"content_type": "application/json", "application_headers": {"task": "tasks.job"}},
    "reply_to": "oid-1",
    "correlation_id": TASK_ID,
    "hostname": "worker0@here",
    "delivery_info": {"exchange": "", "routing_key": "a1b2", "priority": 0, "redelivered": False},
    "args": ["é日本"],
    "kwargs": {},
    "is_eager": False,
    "callbacks": None,
    "errbacks": None,
    "chain": None,
    "chord": None,
}


class Unrepresentable:
    def __repr__(self) -> str:
        raise ValueError("no representation")


def returning(value: Any) -> Callable[..., Any]:
    return lambda task: value


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(task: Any) -> None:
        # Its own each time, since a traceback grows.
        raise copy(error)

    return fail


def retrying(task: Any) -> None:
    raise task.retry(exc=ValueError("again"), countdown=3, max_retries=5)


RESULTS: tuple[Any, ...] = (
    *(None, True, 0, -12, 10**25, 1.5, float("nan"), "", "it's"),
    *([], {"a": [1, "é"]}, (1, None), b"\xff", {1}),
)

ENDINGS: dict[str, Callable[..., Any]] = {
    **{f"returns {value!r}": returning(value) for value in RESULTS},
    "returns a long text": returning("x" * 5000),
    "returns much": returning(list(range(3000))),
    "returns what has no representation": returning(Unrepresentable()),
    "fails": raising(ValueError("é")),
    "fails as expected": raising(KeyError("expected")),
    "ignores": raising(Ignore()),
    "rejects": raising(Reject("no", requeue=True)),
    "retries": retrying,
}

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with headers of the user's": {"request": {"mine": 1, "x-death": [{"count": 1}]}},
    "with a header named headers": {"request": {"headers": {"a": 1}, "mine": 2}},
    "with an empty header named headers": {"request": {"headers": None, "mine": 2}},
    "with a shadow": {"request": {"shadow": "another"}},
    "with a name that is not text": {"request": {b"\xff": 1}},
    "whose result is ignored": {"request": {"ignore_result": True}},
    "whose task ignores results": {"options": {"ignore_result": True}, "without": ["ignore_result"]},
    "whose start is tracked": {"options": {"track_started": True}},
    "with callbacks": {"request": {"callbacks": [{"task": "tasks.next", "args": [], "kwargs": {}, "options": {}}]}},
    "with errbacks": {"request": {"errbacks": [{"task": "tasks.next", "args": [], "kwargs": {}, "options": {}}]}},
    "with arguments that are none": {"kwargs": [1]},
    "with a short representation": {"options": {"resultrepr_maxsize": 4}},
}


class Transcript:
    """All that can be seen of one job."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def note(self, *line: Any) -> None:
        # Addresses differ, and the identities of what a job publishes.
        self.lines.append(re.sub(r"0x[0-9a-f]+|(?!8635e51f)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "…", repr(line)))


def run(
    build: Callable[..., Any],
    ending: Callable[..., Any],
    variant: dict[str, Any],
    backend: str | None,
    caplog: pytest.LogCaptureFixture,
    hears: bool,
) -> list[Any]:
    """Runs one job with a tracer that `build` makes, and tells what could be seen."""
    seen = Transcript()
    app = Celery("project", broker="memory://localhost/", backend=backend, set_as_current=False)
    app.conf.result_extended = True

    def job(self: Any, *args: Any, **kwargs: Any) -> Any:
        fields = {key: value for key, value in vars(self.request).items() if not str(key).startswith("_")}
        seen.note("request", type(self.request).__name__, sorted(fields.items(), key=str), args, kwargs)
        seen.note("current", app.current_task is self, self.request.id, repr(self.request)[:40])
        return ending(self)

    options: dict[str, Any] = {
        "name": "tasks.job",
        "bind": True,
        "shared": False,
        "throws": (KeyError,),
        **variant.get("options", {}),
    }
    task = app.task(**options)(job)
    app.finalize()
    task = app.tasks["tasks.job"]
    published: list[Any] = []
    app.amqp.send_task_message = lambda producer, name, message, **_: published.append((name, message.headers["task"]))

    def hear(name: str) -> Callable[..., None]:
        def receive(sender: Any = None, signal: Any = None, **values: Any) -> None:
            shown = {key: repr(value)[:200] for key, value in sorted(values.items())}
            seen.note("signal", name, getattr(sender, "name", sender), shown)

        return receive

    receivers = {name: hear(name) for name in SIGNALS} if hears else {}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver, weak=False)
    caplog.clear()
    try:
        tracer = build("tasks.job", task, app.loader, "worker0@here", app=app, monotonic=lambda: 0.0)
        left_out = variant.get("without", ())
        request = {key: value for key, value in REQUEST.items() if key not in left_out} | variant.get("request", {})
        kwargs = variant.get("kwargs", request["kwargs"])
        try:
            value, info, runtime, text = tracer(TASK_ID, request["args"], kwargs, request)
            seen.note("returned", getattr(value, "exception", value), info and info.state, runtime, text)
        except Exception as error:
            seen.note("raised", error)
        seen.note("request after", sorted(map(str, request)))
        seen.note("stacks", task.request_stack.top, app.current_task)
        seen.note("published", [name for _, name in published])
        if backend:
            seen.note("stored", {**app.backend.get_task_meta(TASK_ID), "date_done": None})
            app.backend.forget(TASK_ID)
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)
    seen.note("logged", [(record.levelname, record.getMessage()) for record in caplog.records])
    return seen.lines


@pytest.fixture(autouse=True)
def forget_warnings() -> Iterator[None]:
    """Celery warns of what is raised outside of a task."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
@pytest.mark.parametrize("backend", [None, "cache+memory://"], ids=["no backend", "backend"])
def test_a_job_looks_as_in_celerys_own_tracer(
    ending: Callable[..., Any], backend: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    level = logging.INFO if backend else logging.WARNING
    caplog.set_level(level, logger="celery.app.trace")
    for variant in VARIANTS.values():
        for hears in (False, True):
            stock = run(trace.build_tracer, ending, variant, backend, caplog, hears)
            own = run(tracing.tracer_builder(), ending, variant, backend, caplog, hears)
            assert own == stock


def test_the_installed_celery_takes_both_replacements() -> None:
    assert set(tracing.replacements(trace)) == {"Context", "saferepr"}


def test_a_tracer_that_others_have_replaced_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    def watched(*args: Any, **options: Any) -> Any:
        raise AssertionError("not called here")

    monkeypatch.setattr(trace, "build_tracer", watched)
    assert tracing.tracer_builder() is watched


def test_functions_that_others_have_replaced_are_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "saferepr", lambda value, limit: "theirs")
    monkeypatch.setattr(trace, "Context", type("Mine", (trace.Context,), {}))
    assert tracing.replacements(trace) == {}


def kombu_json(value: Any) -> bytes:
    text: str = dumps(value, serializer="json")[2]
    return text.encode()


BODIES: dict[str, bytes] = {
    "a job": b'[[{"run_id": "a1b2", "n": 0}], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]',
    "types of kombu's": kombu_json(
        [datetime(2026, 1, 2, tzinfo=timezone.utc), date(2026, 1, 2), Decimal("1.5"), uuid.UUID(int=7), b"a", b"\xff"]
    ),
    "a type written with escapes": b'{"\\u005f\\u005ftype__": "bytes", "\\u005F_value__": "abc"}',
    "a type that nobody knows": b'{"__type__": "mine", "__value__": 1}',
    "a member more than a type has": b'{"__type__": "bytes", "__value__": "a", "more": 1}',
    "escapes": b'"\\u00e9\\ud83d\\ude00\\ud800 \\\\u005f"',
    "text of all planes": '["é日本😀"]'.encode(),
    "numbers": b"[NaN, Infinity, -Infinity, 1e400, -0.0, 123456789012345678901234567890]",
    "one name twice": b'{"a": 1, "a": 2}',
    "space around": b" \n[1]\t ",
    "nothing": b"",
    "only space": b" ",
    "something behind": b"[1] 2",
    "cut short": b'[1, {"a',
    "no JSON": b"nonsense",
    "no UTF-8": b'["\xff"]',
    "a byte order mark": b"\xef\xbb\xbf[1]",
    "a control character": b'["a\nb"]',
    "deep": b"[" * 100_000,
    "deep and whole": b"[" * 500 + b"]" * 500,
}


def outcome(decode: Callable[[], Any]) -> str:
    try:
        return f"{decode()!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_is_decoded_as_kombu_decodes_it(body: bytes) -> None:
    for accepted in (["json"], ["json", "pickle"], ["pickle"], None):
        accept = prepare_accept_content(accepted)
        decode = decoding.body_decoder(accept)
        for content_type in ("application/json", "application/x-python-serialize", "text/plain", "", None):
            for encoding in ("utf-8", "latin-1", "binary", None):
                stock = outcome(lambda: loads(body, content_type, encoding, accept=accept))  # noqa: B023
                own = outcome(lambda: decode(memoryview(body), content_type, encoding))  # noqa: B023
                assert own == stock


def test_a_decoder_that_the_project_registers_decodes() -> None:
    accept = prepare_accept_content(["json"])
    decode = decoding.body_decoder(accept)
    own = registry._decoders["application/json"]
    try:
        registry._decoders["application/json"] = lambda data: ("mine", json.loads(data))
        assert decode(memoryview(b"[1]"), "application/json", "utf-8") == ("mine", [1])
    finally:
        registry._decoders["application/json"] = own


STACK = """
import os
from armada_agent.runtime.main import choose_locals
choose_locals()
from celery.utils.threads import LocalStack
print(LocalStack.__name__, "USE_FAST_LOCALS" in os.environ)
"""


def stack(*folders: Path) -> str:
    path = os.pathsep.join(map(str, (REPOSITORY / "Python", *folders)))
    return subprocess.run(
        [sys.executable, "-c", STACK], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    ).stdout


def test_celerys_stacks_go_by_threads_where_there_are_no_greenlets(tmp_path: Path) -> None:
    if importlib.util.find_spec("greenlet") is None:
        assert stack() == "_FastLocalStack False\n"
    (tmp_path / "greenlet.py").write_text("def getcurrent(): return None\n")
    assert stack(tmp_path) == "_LocalStack False\n"
