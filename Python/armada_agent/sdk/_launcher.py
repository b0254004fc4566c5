"""At a desk, where no agent is around: starts one for its modules alone, which ends with this process."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

from .. import connector
from ._errors import AgentUnavailable

_lock = threading.Lock()


def agent_binary() -> str:
    """`AGENT_BINARY`, the build of the checkout that this package lies in, or `armada-agent` on the PATH."""
    named = os.environ.get("AGENT_BINARY")
    built = Path(__file__).resolve().parents[3] / ".build" / "release" / "armada-agent"
    found = named or (str(built) if built.exists() else shutil.which("armada-agent"))
    if not found:
        raise AgentUnavailable(
            "no agent is around, and there is no program to start: expected armada-agent on the PATH, or its path in"
            " AGENT_BINARY"
        )
    return found


def launch() -> None:
    """Start `armada-agent modules` on a private socket."""
    with _lock:
        if connector.descriptor >= 0:
            return
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # The first request is sent before the agent could ask for its sender's number.
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            try:
                subprocess.Popen(
                    [agent_binary(), "modules", "--connector", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError as error:
                mine.close()
                raise AgentUnavailable(f"the agent can't be started: {error}") from error
        connector.descriptor = mine.detach()
