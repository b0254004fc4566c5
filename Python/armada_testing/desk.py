"""A script at a desk: what the SDK does where no agent is around, again and again in one process."""

from __future__ import annotations

import os

from armada_agent import connector
from armada_agent.sdk import _connection


def forget_agent() -> None:
    """End the agent that was started for this process; the next call starts one, with the environment as it is then."""
    for connection in _connection._pool.free:
        connection.close()
    _connection._pool.free.clear()
    if connector.descriptor >= 0:
        os.close(connector.descriptor)
        connector.descriptor = -1
