"""Real servers, agents and runs on loopback, for tests, benchmarks and the demonstration.

Everything here is a context manager: what was started is stopped at the end of the `with` block, on Ctrl-C, on SIGTERM
(see `processes.signals_as_exit`) and, through the kernel's parent-death signal, when this process is killed outright.
"""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
