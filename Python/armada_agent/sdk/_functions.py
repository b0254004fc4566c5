"""Functions that travel by value: what they refer to comes with them."""

from __future__ import annotations

import platform
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import mitmproxy_packages

_lock = threading.Lock()


def python_version() -> str:
    """What a function's byte code depends on."""
    return f"{platform.python_implementation()} {sys.version_info.major}.{sys.version_info.minor}"


def pickled(function: Callable[..., Any]) -> bytes:
    """A function with all that it refers to: closures, globals, other functions and classes of the project.

    What is installed (the standard library, site-packages) is imported where the function runs.

    Raises:
        TypeError: it is no function, or something that it refers to can't travel.
    """
    if not callable(function):
        raise TypeError(f"found {type(function).__name__}, expected a function")
    mitmproxy_packages.install()
    try:
        import cloudpickle
    except ImportError:
        raise TypeError("functions travel by cloudpickle, which is not installed: pip install cloudpickle") from None
    try:
        with _lock, _by_value(cloudpickle):
            return _dumped(cloudpickle, function)
    except Exception as problem:
        error = problem
    try:
        # A module of the project's that can't be taken apart is imported at the other end.
        return _dumped(cloudpickle, function)
    except Exception:
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(
            f"{name} can't travel to mitmdump, where it is to run: {type(error).__name__}: {error}; it may refer to"
            " nothing that lives in this process alone, as connections, locks, browsers and files do"
        ) from error


def _dumped(cloudpickle: Any, function: Callable[..., Any]) -> bytes:
    data: bytes = cloudpickle.dumps(function)
    return data


def unpickled(data: bytes) -> Any:
    """A value that a retriever has put into its queue."""
    mitmproxy_packages.install()
    import cloudpickle

    return cloudpickle.loads(data)


@contextmanager
def _by_value(cloudpickle: Any) -> Iterator[None]:
    """For as long as the block runs, the project's own modules are taken apart, not imported at the other end."""
    registered = cloudpickle.list_registry_pickle_by_value()
    modules = [
        module
        for name, module in list(sys.modules.items())
        if _is_the_projects(name, module) and name not in registered
    ]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _is_the_projects(name: str, module: ModuleType | None) -> bool:
    file = getattr(module, "__file__", None)
    # `__main__` travels by value anyway; a module's name may have been given to another object.
    if not file or name == "__main__" or getattr(module, "__name__", None) != name:
        return False
    if name.partition(".")[0] == __name__.partition(".")[0] or file.startswith(_INSTALLED):
        return False
    return not str(Path(file).resolve()).startswith(_INSTALLED)


def _installed() -> tuple[str, ...]:
    """The folders of what is installed, not written for the project."""
    paths = sysconfig.get_paths()
    folders = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages", "lib-dynload")}
    return tuple(str(Path(folder).resolve()) + "/" for folder in folders)


_INSTALLED = _installed()
