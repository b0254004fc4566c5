"""What the kernel says of a tree of processes."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from .processes import wait_until

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Status:
    """The fields of /proc/PID/stat that matter here; times in seconds."""

    state: str
    parent: int
    own_cpu: float
    reaped_cpu: float


def status(pid: int) -> Status | None:
    """`None` when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # The name before may hold anything, spaces and brackets, too.
    utime, stime, cutime, cstime = (int(field) / _TICKS for field in fields[11:15])
    return Status(fields[0], int(fields[1]), utime + stime, cutime + cstime)


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    found = status(pid)
    return found is not None and found.state not in "ZX"


def wait_gone(pids: list[int], seconds: float) -> None:
    """Until none of these processes runs."""
    wait_until(lambda: not any(is_alive(pid) for pid in pids), seconds, f"the processes {pids} are gone")


def descendants(root: int) -> list[int]:
    """All processes below `root`."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := status(int(entry.name))) is not None:
            children.setdefault(found.parent, []).append(int(entry.name))
    below: list[int] = []
    pending = [root]
    while pending:
        found_children = children.get(pending.pop(), [])
        below += found_children
        pending += found_children
    return below


def tree(root: int) -> list[int]:
    return [root, *descendants(root)]


def cpu_seconds(root: int) -> float:
    """User and system time of the tree, with that of children that have ended."""
    return sum(found.own_cpu + found.reaped_cpu for pid in tree(root) if (found := status(pid)) is not None)


def pss_bytes(root: int) -> int:
    """Proportional set size of the tree: shared pages are counted once, divided among those who share them."""
    return sum(map(own_pss_bytes, tree(root)))


def own_pss_bytes(pid: int) -> int:
    """Proportional set size of one process."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))


def own_cpu_seconds(pid: int) -> float:
    """User and system time of one process alone."""
    found = status(pid)
    return 0.0 if found is None else found.own_cpu


def fine_cpu_seconds(root: int) -> float:
    """The scheduler's own count for the threads of the tree that still run: fine enough for an idle process."""
    nanoseconds = 0
    for pid in tree(root):
        for task in Path(f"/proc/{pid}/task").glob("*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9
