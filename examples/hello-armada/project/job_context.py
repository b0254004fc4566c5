"""What belongs to one job: its message, its clock, its outcome."""

import json
import os
import time


class JobContext:
    """Entered for each job; leaving it writes one line about the job, whether it went well or not.

    With `monitoring` in the agent message, the platform's backend is told, too.
    """

    def __init__(self, agent: AgentContext, job_message: dict) -> None:
        self.agent = agent
        self.job_message = job_message
        self.started = 0.0
        self.monitoring = None
        # What was captured of the page that the job has visited.
        self.answer = None

    async def __aenter__(self) -> "JobContext":
        self.started = time.time()
        if self.agent.agent_message.get("monitoring"):
            from src.monitoring_client import MonitoringClient

            message = self.agent.agent_message
            self.monitoring = MonitoringClient(
                message["run_id"], int(message["pod_index"]), self.job_message["job_uuid"]
            )
            await self.monitoring.create_job_async()
        return self

    async def step(self, content: str) -> None:
        """Something that went well."""
        if self.monitoring is not None:
            await self.monitoring.record_success_event_async(content)

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.agent.jobs_done += 1
        if self.monitoring is not None:
            if error is None:
                await self.monitoring.record_finalsuccess_event_async("done")
            else:
                await self.monitoring.record_failed_event_async(repr(error))
        line = {
            "agent": self.agent.agent_message["pod_index"],
            "job": self.job_message.get("job"),
            "seconds": round(time.time() - self.started, 4),
            "answer": self.answer,
            "error": None if error is None else repr(error),
        }
        journal = self.agent.agent_message.get("journal")
        if journal:
            with open(journal, "a") as file:
                file.write(json.dumps(line) + os.linesep)
