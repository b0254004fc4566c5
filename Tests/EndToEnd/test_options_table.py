"""docs/options.md has a row for all that Celery's own worker knows, and its words are true of the command line."""

from __future__ import annotations

import re

import click
import pytest
from celery.app.defaults import NAMESPACES, flatten
from celery.bin.celery import celery
from celery.bin.worker import worker

from armada_testing import REPOSITORY
from armada_testing.agent import agent_command, pod_environment
from armada_testing.processes import Process

WORDS = ("honoured", "Python", "warned", "refused", "without need", "no worker's")
# What Celery 5.7 has and 5.6 does not.
NEWER = {
    "--pool-start-method",
    "broker_pool_acquire_timeout",
    "task_acks_on_failure",
    "task_acks_on_timeout",
    "task_repr_maxlevels",
    "task_retry_on_worker_lost",
    "worker_log_datefmt",
    "worker_pool_start_method",
    "worker_task_log_datefmt",
}


def rows() -> dict[str, str]:
    """What becomes of each name in the first column of a table."""
    found: dict[str, str] = {}
    for line in (REPOSITORY / "docs" / "options.md").read_text().splitlines():
        match = re.match(r"\| (`[^|]+`) \| ([^|]+) \|", line)
        if match is None:
            continue
        for name in re.findall(r"`([^`]+)`", match[1]):
            assert name not in found or name == "--help", f"{name} has two rows"
            found[name] = match[2].strip()
    return found


def test_every_word_is_one_of_the_legend() -> None:
    assert {name: word for name, word in rows().items() if word not in WORDS} == {}


def options() -> set[str]:
    return {
        option
        for command in (celery, worker)
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }


def settings() -> set[str]:
    return {key for key, _ in flatten(NAMESPACES)}


def test_every_option_has_a_row() -> None:
    assert options() - set(rows()) == set()


def test_every_setting_has_a_row() -> None:
    patterns = [name.removesuffix("*") for name in rows() if name.endswith("_*")]
    missing = {key for key in settings() - set(rows()) if not key.startswith(tuple(patterns))}
    assert missing == set()


def test_no_row_is_of_something_that_celery_does_not_have() -> None:
    known = options() | settings() | NEWER | {"-h", "--help"}
    extra = {name for name in rows() if name not in known and not name.endswith("_*") and not name.isupper()}
    assert extra == set()


def test_what_the_engine_reads_is_honoured() -> None:
    """And those that reach it otherwise: as options of tasks, URLs, lists of queues."""
    sources = (path.read_text() for path in (REPOSITORY / "Sources").rglob("*.swift"))
    read = {name for text in sources for name in re.findall(r'setting\("([a-z_]+)"\)', text)}
    assert read
    found = rows()
    assert {name: found.get(name) for name in read if found.get(name) != "honoured"} == {}


@pytest.mark.usefixtures("ours")
def test_help_lists_what_is_honoured(tmp_path_factory: pytest.TempPathFactory) -> None:
    log = tmp_path_factory.mktemp("help") / "log"
    with Process([*agent_command("agent"), "worker", "--help"], log, pod_environment({})) as process:
        assert process.wait(20) == 0
        shown = set(re.findall(r"(?<![\w-])--?[a-zA-Z][a-z-]*", process.output()))
    options_of_rows = {name: word for name, word in rows().items() if name.startswith("-")}
    assert {name for name, word in options_of_rows.items() if word != "refused"} - shown == set()
    assert {name for name, word in options_of_rows.items() if word == "refused"} & shown == set()
