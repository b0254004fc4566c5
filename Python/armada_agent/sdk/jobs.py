"""The job that runs, and starting others from within it."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping
from typing import Any

from ._connection import call, call_async
from ._errors import ModuleError

__all__ = ["Job", "current_job"]


class Job:
    """A job that runs: as `current_job` gives it, to be used from any thread until the job ends.

    Attributes:
        id: its task's id.
        root_id: the id of the job that the first one in this line of jobs was; its own if it was started by nobody.
        fields: its message, `run_id` included; a copy.
    """

    def __init__(self, id: str, root_id: str, fields: dict[str, Any]) -> None:
        self.id = id
        self.root_id = root_id
        self.fields = fields

    def launch(self, fields: Mapping[str, Any], queue: str | None = None) -> str:
        """Start another job, and return its id once the broker has it.

        Args:
            fields: the new job's message; `run_id` is this job's unless it is given.
            queue: by default the one that this job came from.

        Raises:
            ModuleError: a `RuntimeError` with `kind` `refused` (no such queue, a broker that can't), `not_running` (the
                asking job ended), or `unknown`: the connection was lost, or no answer came within 30 s, so that the
                job may have been started.
            AgentUnavailable: no agent serves this process.
        """
        arguments = self._arguments(fields, queue)
        call("jobs.launch", **arguments)
        return str(arguments["id"])

    async def launch_async(self, fields: Mapping[str, Any], queue: str | None = None) -> str:
        """As `launch`, from asyncio."""
        arguments = self._arguments(fields, queue)
        await call_async("jobs.launch", **arguments)
        return str(arguments["id"])

    def _arguments(self, fields: Mapping[str, Any], queue: str | None) -> dict[str, Any]:
        # What Celery's own client would write; both are there, since a job runs.
        from celery.utils.saferepr import saferepr
        from kombu.utils.json import dumps

        run = {"run_id": self.fields["run_id"]} if "run_id" in self.fields else {}
        message = {**run, **fields}
        return {
            "job": self.id,
            "id": str(uuid.uuid4()),
            "argument": dumps(message),
            "representation": saferepr([message], 1024),
            "queue": queue,
        }

    def __repr__(self) -> str:
        return f"<Job {self.id}>"


def current_job() -> Job:
    """The job that runs in this thread.

    Raises:
        ModuleError: with `kind` `no_job`: none does.
    """
    state = sys.modules.get("celery._state")
    task = state.get_current_task() if state is not None else None
    if task is None or not task.request.id:
        raise ModuleError(
            "no_job",
            "no job runs in this thread: expected a call from within a job; for other threads, take current_job() there"
            " and hand it over",
        )
    request = task.request
    message = request.args[0] if request.args else {}
    return Job(request.id, request.root_id or request.id, dict(message) if isinstance(message, Mapping) else {})
