"""The user code of `scripts/soak`: read as text, never imported. `app` and `agent_message` are given.

A job counts itself, in a page of shared memory that doesn't grow: one number for each worker.
"""

import mmap
import os

from billiard.process import current_process

counts = memoryview(mmap.mmap(os.open(agent_message["counts"], os.O_RDWR), 0)).cast("q")


@app.task(name="tasks.consume_message", acks_late=True, queue=agent_message["run_id"])
def consume_message(job_message):
    counts[current_process().index] += 1
