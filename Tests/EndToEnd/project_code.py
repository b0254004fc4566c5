"""The user code that the end-to-end tests run: read as text, never imported. `app` and `agent_message` are given.

Each step is one line of the journal: event, job number, process, time. What a job does, its message says.
"""

import os
import signal
import time

from celery.signals import worker_process_init, worker_process_shutdown

journal = os.open(agent_message["journal"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(event, number=-1):
    os.write(journal, f"{event} {number} {os.getpid()} {time.time()}\n".encode())


@worker_process_init.connect
def at_init(**_arguments):
    note("init")


@worker_process_shutdown.connect
def at_shutdown(**_arguments):
    note("shutdown")


def perform(job):
    number = job["n"]
    note("start", number)
    if "until" in job:
        while not os.path.exists(job["until"]):
            time.sleep(0.01)
    if "die_once" in job and not os.path.exists(job["die_once"]):
        os.close(os.open(job["die_once"], os.O_CREAT | os.O_WRONLY))
        os.kill(os.getpid(), signal.SIGKILL)
    if "seconds" in job:
        time.sleep(job["seconds"])
    if "fail" in job:
        raise ValueError(job["fail"])
    note("end", number)


@app.task(
    name="tasks.consume_message",
    bind=True,
    acks_late=True,
    reject_on_worker_lost=True,
    max_retries=3,
    queue=agent_message["run_id"],
)
def consume_message(self, job_message):
    if "retry_in" in job_message and self.request.retries == 0:
        note("retry", job_message["n"])
        raise self.retry(countdown=job_message["retry_in"])
    perform(job_message)


@app.task(name="tasks.early", queue=agent_message["run_id"])
def early(job_message):
    perform(job_message)
