"""Workers that end at their limits of tasks or memory, while jobs keep coming."""

from __future__ import annotations

from pathlib import Path

import pytest

from armada_testing.processes import wait_until
from armada_testing.procfs import descendants, is_alive

from .conftest import PROJECT_CODE, Run

pytestmark = pytest.mark.usefixtures("ours")

ONE_TASK = "\napp.conf.worker_max_tasks_per_child = 1\n"
NO_MEMORY = "\napp.conf.worker_max_memory_per_child = 1\n"


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize("project_code", [PROJECT_CODE + ONE_TASK, PROJECT_CODE + NO_MEMORY], ids=["tasks", "memory"])
def test_no_job_and_no_descriptor_is_lost_with_recycled_workers(run: Run) -> None:
    agent = run.agent(concurrency=2, prefetch=4)
    wait_until(lambda: len(run.times("init")) and len(run.steps("init")) == 2, 30, "two workers")
    main = next(pid for pid in descendants(agent.pid) if len(descendants(pid)) >= 2)
    before = descriptors(agent.pid), descriptors(main)
    for number in range(60):
        run.dispatch(number)
    run.wait_done(range(60), 60)
    run.wait_empty()
    assert run.times("start") == dict.fromkeys(range(60), 1)
    assert len({step.pid for step in run.steps("start")}) == 60
    wait_until(lambda: (descriptors(agent.pid), descriptors(main)) == before, 20, "the descriptors are as before")
    wait_until(lambda: sum(map(is_alive, descendants(main))) == len(descendants(main)) == 2, 20, "two workers are left")
    assert agent.process.running
    assert "died" not in agent.output()
    assert agent.warm() == 0
