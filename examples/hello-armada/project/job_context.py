"""What belongs to one job: its message, its clock, its outcome."""

import json
import os
import time


class JobContext:
    """Entered for each job; leaving it writes one line about the job, whether it went well or not."""

    def __init__(self, agent: AgentContext, job_message: dict) -> None:
        self.agent = agent
        self.job_message = job_message
        self.started = 0.0

    async def __aenter__(self) -> "JobContext":
        self.started = time.time()
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.agent.jobs_done += 1
        line = {
            "agent": self.agent.agent_message["pod_index"],
            "job": self.job_message.get("job"),
            "seconds": round(time.time() - self.started, 4),
            "error": None if error is None else repr(error),
        }
        journal = self.agent.agent_message.get("journal")
        if journal:
            with open(journal, "a") as file:
                file.write(json.dumps(line) + os.linesep)
