"""The frames that tell how a job has ended."""

from __future__ import annotations

from typing import Any

from . import wire


def refusal_frame(job: int, outcome: int, error: Exception) -> bytes:
    """The RESULT frame for a message that is no job."""
    payload = b"".join((wire.sized(str(error)), wire.sized(type(error).__name__), wire.sized(""), wire.sized("")))
    return wire.RESULT_HEAD.pack(21 + len(payload), wire.RESULT, job, outcome, 0, 0, 0.0) + payload


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


def marked_as_last(frame: bytes) -> bytes:
    """A RESULT frame that says that the worker ends after it."""
    place = wire.RESULT_FLAGS_OFFSET
    return b"".join((frame[:place], bytes([frame[place] | wire.LAST]), frame[place + 1 :]))
