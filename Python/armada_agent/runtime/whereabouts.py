"""Where the main process is when it does not come back: in whose function."""

from __future__ import annotations

from types import FrameType

# They call what is the user's: the receivers of signals, and remote control's commands.
_CALLERS = ("celery.utils.dispatch.signal", "armada_agent.runtime.calls")


def whereabouts(frame: FrameType) -> tuple[str, str]:
    """The function of the user's that runs, and the line that it, or what it has called, has come to."""
    place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    inner, outer = frame, frame.f_back
    while outer is not None and outer.f_globals.get("__name__") not in _CALLERS:
        inner, outer = outer, outer.f_back
    function = frame if outer is None else inner
    name = getattr(function.f_code, "co_qualname", function.f_code.co_name)
    return f"{function.f_globals.get('__name__')}.{name}", place
