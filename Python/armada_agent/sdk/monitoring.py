"""What the platform's backend is told of a job: that it runs, what happens in it, how it ended."""

from __future__ import annotations

import uuid
from typing import Any, TypeVar

from ._connection import call, call_async

__all__ = ["MonitoringClient"]

Identifier = str | uuid.UUID
Client = TypeVar("Client", bound="MonitoringClient")


class MonitoringClient:
    """The monitoring of one job, at the backend that `BACKEND_URL` names.

    Each call returns the client once the backend has taken on what it was told. Connections that fail, and answers with
    502, 503 and 504, are tried again for 10 s.

    Raises (each call):
        ModuleError: a `RuntimeError` with `kind` `timeout`, `network` or `status` (`details` has `status` and `body`),
            and a text that says the same.
        AgentUnavailable: no agent serves this process.

    Args:
        run_uuid: the run.
        agent_number: the agent's index in the run.
        job_uuid: the job.
    """

    def __init__(self, run_uuid: Identifier, agent_number: int | str, job_uuid: Identifier) -> None:
        self.run_uuid = run_uuid
        self.agent_number = agent_number
        self.job_uuid = job_uuid

    def create_job(self: Client) -> Client:
        """Make the job known, as running."""
        call("monitoring.create_job", **self._job())
        return self

    def record_success_event(self: Client, content: Any) -> Client:
        """Record an event that went well; the job goes on.

        Args:
            content: text, or anything that JSON can hold.
        """
        call("monitoring.record_event", **self._event(content, "Success"))
        return self

    def record_finalsuccess_event(self: Client, content: Any) -> Client:
        """Record the job's last event, then that the job was a success."""
        call("monitoring.record_event", **self._event(content, "Success", ends_job=True))
        return self

    def record_failed_event(self: Client, content: Any) -> Client:
        """Record what went wrong, then that the job has failed."""
        call("monitoring.record_event", **self._event(content, "Failed", ends_job=True))
        return self

    async def create_job_async(self: Client) -> Client:
        """As `create_job`, from asyncio."""
        await call_async("monitoring.create_job", **self._job())
        return self

    async def record_success_event_async(self: Client, content: Any) -> Client:
        """As `record_success_event`, from asyncio."""
        await call_async("monitoring.record_event", **self._event(content, "Success"))
        return self

    async def record_finalsuccess_event_async(self: Client, content: Any) -> Client:
        """As `record_finalsuccess_event`, from asyncio."""
        await call_async("monitoring.record_event", **self._event(content, "Success", ends_job=True))
        return self

    async def record_failed_event_async(self: Client, content: Any) -> Client:
        """As `record_failed_event`, from asyncio."""
        await call_async("monitoring.record_event", **self._event(content, "Failed", ends_job=True))
        return self

    def _job(self) -> dict[str, Any]:
        return {
            "run_uuid": plain(self.run_uuid),
            "job_uuid": plain(self.job_uuid),
            "job_associated_agent": self.agent_number,
        }

    def _event(self, content: Any, status: str, ends_job: bool = False) -> dict[str, Any]:
        return {"job_uuid": plain(self.job_uuid), "content": content, "status": status, "ends_job": ends_job}


def plain(identifier: Identifier) -> str:
    """An identifier as JSON has it."""
    return str(identifier) if isinstance(identifier, uuid.UUID) else identifier
