"""Jobs that start jobs: each page of a site is visited by a job of its own, which starts those of its links."""

from __future__ import annotations

import os

from celery import Celery

from armada_agent.sdk.jobs import current_job

# Each page with its links.
SITE = {"home": ["news", "prices"], "news": ["today"], "prices": [], "today": []}

app = Celery("crawl", broker=os.environ.get("RABBITMQ_URL", "amqp://localhost:5672"))
app.conf.task_default_queue = "crawl"
app.conf.task_ignore_result = True


@app.task(name="crawl.visit", acks_late=True)
def visit(job: dict[str, str]) -> None:
    path = f"{job['path']}/{job['page']}"
    print(f"visited {path}")
    for link in SITE[job["page"]]:
        current_job().launch({"page": link, "path": path})


if __name__ == "__main__":
    visit.delay({"page": "home", "path": ""})
