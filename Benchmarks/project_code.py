"""The user code that both sides run: read as text, never imported. `app` and `agent_message` are given.

The job does nothing but note when it ran, in shared memory: one slot of eight bytes per job.
"""

import mmap
import os
import time

app.conf.worker_send_task_events = agent_message.get("events", False)
slots = memoryview(mmap.mmap(os.open(agent_message["slots"], os.O_RDWR), 0)).cast("q")


@app.task(name="tasks.consume_message", acks_late=True, queue=agent_message["run_id"])
def consume_message(job_message):
    slots[job_message["n"]] = time.monotonic_ns()
