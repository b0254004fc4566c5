"""The user's functions: how they arrive, run and fail."""

from __future__ import annotations

import inspect
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

import cloudpickle

from .channel import Channel

# So many different texts of one function's errors are told apart; further ones by their type alone.
_TEXTS = 20


class Queue:
    """What a retriever puts its values into."""

    def __init__(self, channel: Channel, identifier: str) -> None:
        self._channel = channel
        self._identifier = identifier

    def put(self, value: Any, block: bool = True, timeout: float | None = None) -> None:
        """Pass a value on to the worker; never blocks, the arguments are those of `queue.Queue`.

        Raises:
            Exception: the value can't be pickled, or is too large.
        """
        self._channel.send({"type": "value", "queue": self._identifier}, cloudpickle.dumps(value))

    def put_nowait(self, value: Any) -> None:
        """As `put`."""
        self.put(value)


class Function:
    """A function of the user's, with what it is called with after the flow."""

    def __init__(self, channel: Channel, name: str, pickled: bytes, *arguments: Any) -> None:
        self._channel = channel
        self._name = name
        self._function: Callable[..., Any] = cloudpickle.loads(pickled)
        self._arguments = arguments
        self._failures: Counter[str] = Counter()

    async def __call__(self, flow: Any) -> None:
        """Run it. Whatever it raises is told to the agent, and the flow goes on."""
        try:
            result = self._function(flow, *self._arguments)
            if inspect.isawaitable(result):
                await result
        except Exception as error:
            self._report(error)

    def _report(self, error: Exception) -> None:
        """Tell of an error when it comes for the first time, and then each tenfold time."""
        text = "".join(traceback.format_exception_only(error)).strip()
        if text not in self._failures and len(self._failures) >= _TEXTS:
            text = type(error).__qualname__
        self._failures[text] += 1
        times = self._failures[text]
        if times != 10 ** (len(str(times)) - 1):
            return
        # From the user's own code on.
        trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
        lines = "".join(traceback.format_exception(type(error), error, trace))
        self._channel.send({"type": "raised", "function": self._name, "error": text, "times": times}, lines.encode())
