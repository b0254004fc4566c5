"""Reports a job from a script at a desk, where no agent runs: `pip install Python/`, or with `PYTHONPATH=Python`."""

from __future__ import annotations

import uuid

from armada_agent.sdk import ModuleError
from armada_agent.sdk.monitoring import MonitoringClient


def main() -> None:
    client = MonitoringClient(run_uuid=uuid.uuid4(), agent_number=0, job_uuid=uuid.uuid4())
    try:
        client.create_job().record_success_event("the first step").record_finalsuccess_event("all done")
    except ModuleError as error:
        raise SystemExit(f"the backend was not told: {error}") from error
    print(f"told the backend of job {client.job_uuid}")


if __name__ == "__main__":
    main()
