"""Celery's own tracer, with two of the functions that it calls replaced by cheaper ones of the same effect.

`celery.app.trace.build_tracer` is run as it is, its code neither copied nor changed: only the names `Context` and
`saferepr` mean something else to it here. If anyone has replaced it or them, as tools that watch Celery do, or if
what is here doesn't agree with the Celery that is installed, then nothing is replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

# Their representation is short, and the same whoever makes it.
PLAIN = (type(None), bool, int, float)


def tracer_builder() -> Callable[..., Any]:
    """`build_tracer` as the installed Celery has it, or with what is cheaper."""
    from celery.app import trace

    build: Callable[..., Any] = trace.build_tracer
    names = vars(trace)
    if type(build) is not FunctionType or build.__globals__ is not names or build.__closure__ is not None:
        return build
    names = {**names, **replacements(trace)}
    builder = FunctionType(build.__code__, names, build.__name__, build.__defaults__)
    builder.__kwdefaults__ = build.__kwdefaults__
    return builder


def replacements(trace: Any) -> dict[str, Any]:
    """What can be replaced in the installed Celery."""
    from celery.app.task import Context
    from celery.utils.saferepr import saferepr

    found: dict[str, Any] = {}
    if trace.Context is Context:
        make = context_maker(Context)
        if all(vars(make(each, **ARGUMENTS)) == vars(Context(each, **ARGUMENTS)) for each in REQUESTS):
            found["Context"] = make
    if trace.saferepr is saferepr:
        short = short_representation(saferepr)
        if all(short(value, limit) == saferepr(value, limit) for value in VALUES for limit in (None, 2, 6, 1024)):
            found["saferepr"] = short
    return found


def context_maker(context: type) -> Callable[..., Any]:
    """Makes a `Context` of a request that is a dictionary.

    Celery's own constructor copies the request once more, and takes some fifty names out of it one by one, to see
    whether a header of the user's is left over: as a rule there is none.
    """
    new: Any = context.__new__
    known = frozenset({*vars(context), "lang", "task", "argsrepr", "kwargsrepr", "compression"})
    # Else as Celery's own leaves it: in the class, for a request without this key.
    default = vars(context).get("headers")

    def make(request: dict[str, Any], args: Any, called_directly: bool, kwargs: Any) -> Any:
        made = new(context)
        fields = request.copy()
        fields["args"] = args
        fields["called_directly"] = called_directly
        fields["kwargs"] = kwargs
        if fields.get("headers", default) is None:
            custom = None
            if not known.issuperset(fields):
                custom = {key: value for key, value in fields.items() if key not in known}
            fields["headers"] = custom
        made.__dict__ = fields
        return made

    return make


def short_representation(saferepr: Callable[..., str]) -> Callable[..., str]:
    """`saferepr`, which takes its time for the likes of None, too."""

    def represent(value: Any, limit: int | None = None) -> str:
        if type(value) in PLAIN:
            text = repr(value)
            if limit is None or len(text) < limit:
                return text
        return saferepr(value, limit)

    return represent


# What the replacements must agree with Celery's own on.
ARGUMENTS: dict[str, Any] = {"args": [1], "called_directly": False, "kwargs": {"a": 2}}
REQUESTS: tuple[dict[str, Any], ...] = (
    {},
    {"id": "i", "task": "t", "lang": "py", "argsrepr": "", "kwargsrepr": "", "compression": None, "properties": {}},
    {"id": "i", "mine": 1, "headers": None},
    {"id": "i", "mine": 1, "headers": {"a": 1}},
    {"id": "i", "headers": {}, "children": [1], "update": 1, "_protected": 1},
)
VALUES = (None, True, False, 0, -7, 10**30, 1.5, -0.0, float("inf"))
