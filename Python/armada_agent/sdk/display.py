"""Screens for programs that need one: an Xvfb of the agent's, or the screen that is there; and pictures of them."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from ._configuration import Configuration, json_members
from ._connection import call, call_async
from ._errors import AgentUnavailable, ModuleError

__all__ = ["Display"]

_VARIABLES = ("DISPLAY", "XAUTHORITY")


class _Environment:
    """What `DISPLAY` and `XAUTHORITY` are: those of the display that was started last, or from before the first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.displays: list[Display] = []
        self.outside: dict[str, str | None] = {}

    def original(self) -> dict[str, str | None]:
        """As if no display had been started."""
        with self.lock:
            return self.outside if self.displays else self._current()

    def enter(self, display: Display) -> None:
        with self.lock:
            if not self.displays:
                self.outside = self._current()
            self.displays.append(display)
            self._apply()

    def leave(self, display: Display) -> None:
        with self.lock:
            if display in self.displays:
                self.displays.remove(display)
                self._apply()

    def _current(self) -> dict[str, str | None]:
        return {name: os.environ.get(name) for name in _VARIABLES}

    def _apply(self) -> None:
        for name, value in (self.displays[-1]._environment if self.displays else self.outside).items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_environment = _Environment()


def _unlock() -> None:
    """In a forked process: the thread that had the lock may not exist here."""
    _environment.lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock)


class Display:
    """A screen for the programs that this process starts; ready when the constructor returns.

    It is in `DISPLAY` (with its secret in `XAUTHORITY`) of `os.environ` until `stop()`, so that browsers and others
    that are started meanwhile use it. It ends with `stop()`, at the end of a `with` block, and with the process that
    has started it.

    Args:
        config_screen: a dictionary, or the path of a JSON file, which is read now: `screen_visible` for the screen that
            is there instead of one of its own, `screen_width`, `screen_height`, `screen_depth` (or without `screen_`;
            1920 × 1080 × 24 by default). Other members are ignored.
        start: whether to start it at once; from asyncio, `async with Display(config, start=False)`.

    Raises:
        ModuleError: `argument`, `missing` (Xvfb is not installed), `no_screen` (`screen_visible` without a screen),
            `start` (Xvfb's own words).
        OSError, ValueError, TypeError: the file can't be read, or is not a JSON object.
    """

    def __init__(self, config_screen: Configuration | None = None, *, start: bool = True) -> None:
        self.config = {} if config_screen is None else config_screen
        self._members = {name: json.loads(text) for name, text in json_members(self.config).items()}
        self._state: dict[str, Any] | None = None
        self._environment: dict[str, str | None] = {}
        self._pid = 0
        if start:
            self.start()

    @property
    def display(self) -> str | None:
        """As `DISPLAY` has it (`:3`); `None` while there is none."""
        return self._state["display"] if self._state else None

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels; `None` while there is none, and for the screen that is there."""
        return (self._state["width"], self._state["height"]) if self._state and "width" in self._state else None

    def start(self) -> Display:
        """Start it, unless it runs; one that has ended by itself is started anew. Returns the display."""
        if not self.is_alive():
            self.stop()
            self._started(call("display.start", **self._request()))
        return self

    async def start_async(self) -> Display:
        """As `start`, from asyncio."""
        if not await self.is_alive_async():
            await self.stop_async()
            self._started(await call_async("display.start", **self._request()))
        return self

    def stop(self) -> None:
        """End it, with the programs that draw on it, and restore the environment. What is stopped can be started anew.

        In a process that was forked from the one that has started it, it stays, and the environment is restored.
        """
        state = self._stopped()
        if state is not None:
            try:
                call("display.stop", id=state["id"])
            except AgentUnavailable:
                # It has ended with the agent.
                return

    async def stop_async(self) -> None:
        """As `stop`, from asyncio."""
        state = self._stopped()
        if state is not None:
            try:
                await call_async("display.stop", id=state["id"])
            except AgentUnavailable:
                return

    def is_alive(self) -> bool:
        """Whether programs can connect to it. Of the screen that is there nothing is known; it counts as alive."""
        if self._state is None or self._state["id"] is None:
            return self._state is not None
        return bool(call("display.is_alive", id=self._state["id"]))

    async def is_alive_async(self) -> bool:
        """As `is_alive`, from asyncio."""
        if self._state is None or self._state["id"] is None:
            return self._state is not None
        return bool(await call_async("display.is_alive", id=self._state["id"]))

    def screenshot(self, path: str | os.PathLike[str] | None = None) -> bytes:
        """A picture of the whole screen, as PNG.

        Args:
            path: a file to write it to, too.

        Raises:
            ModuleError: `ended` (with Xvfb's own words), `missing` (ImageMagick is not installed), `timeout` (30 s),
                `screenshot` (ImageMagick's own words).
            OSError: the file can't be written.
        """
        picture: bytes = call("display.screenshot", **self._target())
        if path is not None:
            Path(path).write_bytes(picture)
        return picture

    async def screenshot_async(self, path: str | os.PathLike[str] | None = None) -> bytes:
        """As `screenshot`, from asyncio."""
        picture: bytes = await call_async("display.screenshot", **self._target())
        if path is not None:
            await asyncio.to_thread(Path(path).write_bytes, picture)
        return picture

    def __enter__(self) -> Display:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Display:
        return await self.start_async()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop_async()

    def __repr__(self) -> str:
        return f"<Display {self.display or 'stopped'}>"

    def _request(self) -> dict[str, Any]:
        outside = _environment.original()
        return {"config": self._members, "display": outside["DISPLAY"], "authority": outside["XAUTHORITY"]}

    def _started(self, state: dict[str, Any]) -> None:
        self._state = state
        self._environment = {"DISPLAY": state["display"], "XAUTHORITY": state["authority"]}
        self._pid = os.getpid()
        _environment.enter(self)

    def _stopped(self) -> dict[str, Any] | None:
        """What the agent is to end, if anything."""
        state, self._state = self._state, None
        _environment.leave(self)
        return state if state and state["id"] is not None and self._pid == os.getpid() else None

    def _target(self) -> dict[str, Any]:
        if self._state is None:
            raise ModuleError("ended", "the display has been stopped, or was never started: start() gives one")
        if self._state["id"] is None:
            return {"display": self._state["display"], "authority": self._state["authority"]}
        return {"id": self._state["id"]}
