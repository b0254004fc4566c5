"""Flower, in a real browser, finds our worker to be a Celery worker: its pages, the list of tasks, and the buttons."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from celery import Celery

from armada_testing.browser import Browser
from armada_testing.processes import Process, free_port, port_answers, wait_until
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.worker import Worker, client

pytestmark = pytest.mark.skipif(not Browser.is_installed(), reason="no chromium and chromedriver on the PATH")


class Flower:
    """Flower on a broker of its own, a browser before it, and one worker."""

    def __init__(self, broker: RabbitMQ, home: Path, resources: ExitStack) -> None:
        self.home = home
        self.queue = f"flower-{uuid.uuid4().hex[:8]}"
        self.client: Celery = client(broker)
        resources.callback(self.client.close)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        options = ["flower", f"--port={port}", "--address=127.0.0.1", f"--db={home / 'flower'}"]
        server = Process(
            [sys.executable, "-m", "celery", "-b", broker.url, *options],
            home / "flower.log",
            # Without it Flower's own buttons are refused where it asks nobody for a password.
            {**os.environ, "FLOWER_UNAUTHENTICATED_API": "true"},
            cwd=home,
        )
        resources.enter_context(server)
        server.wait_ready(lambda: port_answers(port), 60, "Flower listens")
        self.browser = resources.enter_context(Browser(log=home / "browser.log"))
        # After Flower, which then sees it from its first event on.
        self.worker = resources.enter_context(
            Worker(
                broker,
                log=home / "worker.log",
                queue=self.queue,
                options=["-E", "-c", "2", "-Q", self.queue],
            )
        )
        self.worker.wait_answers(self.client)

    def send(self, **job: object) -> str:
        identity: str = self.client.send_task("jobs.early", args=[job], queue=self.queue).id
        return identity

    def processes(self) -> list[int]:
        """Of the worker's pool."""
        replies = self.client.control.inspect(destination=[self.worker.node], limit=1).stats() or {}
        processes: list[int] = replies.get(self.worker.node, {}).get("pool", {}).get("processes", [])
        return processes

    def open(self, path: str) -> Browser:
        self.browser.open(f"{self.url}/{path}")
        return self.browser


@pytest.fixture
def flower(own_broker: RabbitMQ, tmp_path: Path) -> Iterator[Flower]:
    with ExitStack() as resources:
        yield Flower(own_broker, tmp_path, resources)


def test_flower_shows_and_steers_the_worker(flower: Flower) -> None:
    node, queue = flower.worker.node, flower.queue
    succeeded = [flower.send(n=number) for number in range(3)]
    failed = flower.send(fail="on purpose")

    browser = flower.open("workers")
    browser.wait_text("#workers-table tbody", node, "Online")
    browser.wait_text("#workers-succeeded", "3")
    browser.wait_text("#workers-failed", "1")
    browser.screenshot(flower.home / "workers.png")

    browser = flower.open("tasks")
    rows = browser.wait_text("#tasks-table tbody", "jobs.early", "SUCCESS", "FAILURE", *succeeded, failed)
    assert rows.count("SUCCESS") == 3
    browser.screenshot(flower.home / "tasks.png")

    browser = flower.open(f"task/{failed}")
    browser.wait_text("body", "jobs.early", "FAILURE", "ValueError", "on purpose", node)
    browser.screenshot(flower.home / "task.png")

    browser = flower.open(f"worker/{node}")
    browser.wait_text("#workername", node)
    browser.wait_text("#tab-pool", "concurrency.prefork:TaskPool")
    browser.click("#worker-tab-queues")
    browser.wait_text("#worker-queues", queue)
    browser.click("#worker-tab-tasks")
    browser.wait_text("#tab-tasks", "jobs.early", "4")
    browser.click("#worker-tab-limits")
    browser.wait_text("#tab-limits", "jobs.limited", "10/m")
    browser.click("#worker-tab-config")
    browser.wait_text("#tab-config", "broker_url")
    browser.screenshot(flower.home / "worker.png")

    browser.click("#worker-tab-pool")
    browser.click("#worker-pool-grow")
    browser.wait_text("body", f"Growing '{node}' worker's pool by 1")
    wait_until(lambda: len(flower.processes()) == 3, 20, "the pool has grown")

    browser.click("#worker-group")
    browser.click("#worker-shutdown")
    browser.wait_text("body", "Shutting down")
    browser.screenshot(flower.home / "shutdown.png")
    assert flower.worker.wait_ended() == 0
    browser = flower.open("workers")
    browser.wait_text("#workers-table tbody", node, "Offline")
    browser.screenshot(flower.home / "offline.png")
