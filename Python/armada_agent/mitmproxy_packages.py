"""mitmproxy's own environment, for projects that import mitmproxy where it is not installed.

mitmdump has a virtual environment beside the worker's. A project's `from mitmproxy import http` is served from there
when nothing else has it, and when both are of one Python version; until then all that lies there stays out of sight.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

# Such an import brings the whole environment onto the end of the search path; `cloudpickle` needs nothing beside it.
_WITH_PACKAGES = ("mitmproxy",)
_ALONE = ("cloudpickle",)


def mitmdump() -> str | None:
    """`AGENT_PROXY_MITMDUMP`, that of the checkout or installation that this package lies in, or the PATH's."""
    named = os.environ.get("AGENT_PROXY_MITMDUMP")
    if named:
        return named
    folder = os.path.dirname(os.path.abspath(__file__))
    while (parent := os.path.dirname(folder)) != folder:
        folder = parent
        candidate = os.path.join(folder, ".mitmproxy", "bin", "mitmdump")
        if os.access(candidate, os.X_OK):
            return candidate
    import shutil

    return shutil.which("mitmdump")


def site_packages() -> str | None:
    """The folder of mitmproxy's packages, if there is one for this version of Python."""
    program = mitmdump()
    if program is None:
        return None
    environment = os.path.dirname(os.path.dirname(os.path.realpath(program)))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = os.path.join(environment, "lib", version, "site-packages")
    return folder if os.path.isdir(os.path.join(folder, "mitmproxy")) else None


class _Finder:
    """Asked last, for what nobody else has found."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in (*_WITH_PACKAGES, *_ALONE):
            return None
        folder = site_packages()
        if folder is None:
            return None
        if fullname in _WITH_PACKAGES and folder not in sys.path:
            sys.path.append(folder)
        return PathFinder.find_spec(fullname, [folder])


def install() -> None:
    """Have imports look there last."""
    if _Finder not in sys.meta_path:
        sys.meta_path.append(_Finder)
