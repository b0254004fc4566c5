"""Where this process gets connections to the agent's modules from: a socket that it has inherited, or none."""

from __future__ import annotations

import os
import stat

# The Python processes of an agent have it under this number.
DESCRIPTOR = 5

# -1 where no agent is around.
descriptor = -1


def inherit() -> None:
    """Take the socket that the agent has left open for its Python processes, if it has."""
    global descriptor
    try:
        is_socket = stat.S_ISSOCK(os.fstat(DESCRIPTOR).st_mode)
    except OSError:
        return
    if is_socket:
        os.set_inheritable(DESCRIPTOR, False)
        descriptor = DESCRIPTOR
