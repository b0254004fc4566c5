"""The Celery project that the end-to-end tests and scripts/compat run, with a stock worker and with ours.

Environment: PROJECT_BROKER and PROJECT_BACKEND (URLs), PROJECT_SETTINGS (JSON, merged into the configuration),
PROJECT_BROADCAST (name of a Broadcast queue to add), PROJECT_JOURNAL (the file that tasks write to), PROJECT_SIGNALS
(names of signals whose firing is written there, too; `all`).

Most tasks take a `job`, an object that says what they do (`perform`); the tasks differ in their options.
"""

import json
import os
import time

from celery import Celery, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.worker.control import control_command, inspect_command
from kombu.common import Broadcast

app = Celery("jobs", broker=os.environ.get("PROJECT_BROKER"), backend=os.environ.get("PROJECT_BACKEND") or None)
app.conf.update(json.loads(os.environ.get("PROJECT_SETTINGS") or "{}"))
if os.environ.get("PROJECT_BROADCAST"):
    app.conf.task_queues = [Broadcast(os.environ["PROJECT_BROADCAST"])]


def note(event, **fields):
    """One line of the journal, whole whoever else writes."""
    path = os.environ.get("PROJECT_JOURNAL")
    if path:
        line = json.dumps({"event": event, "pid": os.getpid(), "time": time.time(), **fields}, default=repr)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, line.encode() + b"\n")
        os.close(file)


class Unpicklable(Exception):
    """An exception that no serializer can hold."""

    def __init__(self, message):
        super().__init__(message, lambda: None)


ERRORS = {"ValueError": ValueError, "KeyError": KeyError, "Unpicklable": Unpicklable, "SystemExit": SystemExit}


def wait_for_file(path):
    while not os.path.exists(path):
        time.sleep(0.005)


def perform(task, job):
    """What the job's members ask for, in the order of this function; its `result`, or the number `n`."""
    number = job.get("n")
    note("start", n=number, id=task.request.id)
    try:
        if "until" in job:  # A file: the job goes on when it exists.
            wait_for_file(job["until"])
        if "seconds" in job:
            time.sleep(job["seconds"])
    except SoftTimeLimitExceeded:
        note("soft", n=number)
        if not job.get("catch"):
            raise
        return "caught"
    if "die" in job:  # A signal's number, or "exit".
        once = job.get("once")  # A file that remembers that it has died.
        if not once or not os.path.exists(once):
            if once:
                os.close(os.open(once, os.O_CREAT | os.O_WRONLY))
            if job["die"] == "exit":
                os._exit(3)
            os.kill(os.getpid(), job["die"])
            time.sleep(30)
    if "retry" in job and task.request.retries < job["retry"]:  # How often.
        error = ValueError(job["retry_error"]) if "retry_error" in job else None
        raise task.retry(countdown=job.get("countdown", 0), exc=error, max_retries=job.get("max_retries"))
    if "reject" in job:  # Whether to put it back, which is done once.
        raise Reject("as told", requeue=job["reject"] and not task.request.delivery_info["redelivered"])
    if job.get("ignore"):
        raise Ignore()
    if "fail" in job:
        raise ERRORS[job.get("error", "ValueError")](job["fail"])
    if "replace" in job:  # Two numbers, which another task adds.
        raise task.replace(add.s(*job["replace"]))
    if "size" in job:
        return "x" * job["size"]
    note("end", n=number, id=task.request.id)
    return job.get("result", number)


@app.task(bind=True)
def early(self, job):
    return perform(self, job)


@app.task(bind=True, acks_late=True)
def late(self, job):
    return perform(self, job)


@app.task(bind=True, acks_late=True, acks_on_failure_or_timeout=False)
def late_unacknowledged(self, job):
    return perform(self, job)


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def late_returned(self, job):
    return perform(self, job)


@app.task(bind=True, track_started=True)
def tracked(self, job):
    return perform(self, job)


@app.task(bind=True, rate_limit="10/m")
def limited(self, job):
    return perform(self, job)


@app.task(bind=True, soft_time_limit=1, time_limit=30)
def soft_limited(self, job):
    return perform(self, job)


@app.task(bind=True, time_limit=1)
def hard_limited(self, job):
    return perform(self, job)


@app.task(bind=True, acks_late=True, time_limit=1)
def late_hard_limited(self, job):
    return perform(self, job)


@app.task(bind=True, acks_late=True, time_limit=1, acks_on_failure_or_timeout=False)
def late_hard_limited_unacknowledged(self, job):
    return perform(self, job)


@app.task(bind=True, send_events=False)
def silent(self, job):
    return perform(self, job)


@app.task(bind=True, ignore_result=True)
def resultless(self, job):
    return perform(self, job)


@app.task(bind=True, autoretry_for=(ValueError,), retry_backoff=False, default_retry_delay=0, max_retries=1)
def retried(self, job):
    return perform(self, job)


@app.task
def unserialisable():
    return object()


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def failing(message="no"):
    raise ValueError(message)


@app.task
def errback(*arguments):
    """Called with the failed task's id, or with its request, its exception and its traceback."""
    first = arguments[0]
    note("errback", task=first if isinstance(first, str) else first.id, arguments=len(arguments))


@app.task(bind=True)
def request(self):
    """What the task sees of itself."""
    seen = {key: value for key, value in vars(self.request).items() if not key.startswith("_")}
    return json.loads(json.dumps(seen, sort_keys=True, default=repr))


@inspect_command()
def greet(state, name="you"):
    return {"hello": name, "from": state.hostname}


@control_command(args=[("text", str)])
def shout(state, text):
    note("shout", text=text)
    return {"ok": text.upper()}


@control_command()
def stumble(state):
    raise ValueError("stumbled")


def receiver(name):
    def receive(sender=None, **fields):
        note("signal", name=name, sender=type(sender).__name__, fields=sorted(set(fields) - {"signal"}))

    return receive


wanted = os.environ.get("PROJECT_SIGNALS", "").split()
for each in signals.__all__ if wanted == ["all"] else wanted:
    getattr(signals, each).connect(receiver(each), weak=False)
