"""`armada-agent worker -A MODULE`: what is logged, where, and in whose format."""

from __future__ import annotations

import re
import socket

import pytest

from armada_testing.processes import wait_until

from .worker_project import Project


def test_what_is_logged_by_default_is_warnings(project: Project) -> None:
    worker = project.worker("-c1")
    project.send(n=1, say="hello")
    project.journal.wait_for("end", n=1)
    # What is printed is logged as a warning (worker_redirect_stdouts_level).
    worker.wait_output("printed hello")
    assert worker.warm() == 0
    (line,) = [line for line in worker.output().splitlines() if "printed hello" in line]
    assert re.match(r"\[[-0-9]{10} [:0-9]{8},\d+: WARNING/ForkPoolWorker-1\] printed hello$", line)
    assert "logged hello" not in worker.output()
    assert "received" not in worker.output()


def test_formats_and_levels_of_the_project(project: Project) -> None:
    project.append(
        'app.conf.worker_log_format = "W|%(levelname)s|%(message)s"\n'
        'app.conf.worker_task_log_format = "T|%(levelname)s|%(task_name)s|%(task_id)s|%(message)s"\n'
        'app.conf.worker_redirect_stdouts_level = "ERROR"\n'
    )
    worker = project.worker("-c1", "--loglevel=info")
    identity = project.send(n=1, say="hello")
    worker.wait_output(f"Task work[{identity}] succeeded")
    lines = worker.output().splitlines()
    assert "W|ERROR|printed hello" in lines
    assert f"T|INFO|work|{identity}|logged hello" in lines


def test_output_is_left_alone_if_the_project_says_so(project: Project) -> None:
    project.append("app.conf.worker_redirect_stdouts = False\n")
    worker = project.worker("-c1")
    project.send(n=1, say="hello")
    worker.wait_output("printed hello")
    assert "printed hello" in worker.output().splitlines()


def test_logging_of_the_projects_own(project: Project) -> None:
    project.append(
        """
import logging

@signals.setup_logging.connect
def setup(loglevel, logfile, format, colorize, **_):
    logging.basicConfig(format="OWN %(message)s", level=loglevel)
    note("setup", loglevel=loglevel)
"""
    )
    worker = project.worker("-c1", "-l", "INFO")
    identity = project.send(n=1, say="hello")
    worker.wait_output(f"OWN Task work[{identity}] succeeded")
    assert "OWN logged hello" in worker.output()
    # Then nothing is redirected, either.
    assert "printed hello" in worker.output().splitlines()
    assert project.journal.entries("setup", loglevel=20)


def test_log_files(project: Project) -> None:
    worker = project.worker("-c1", "-linfo", f"--logfile={project.home}/%n-%i.log", general=["-q"])
    name = worker.node.partition("@")[0]
    parent, child = project.home / f"{name}-0.log", project.home / f"{name}-1.log"
    identity = project.send(n=1, say="hello")
    wait_until(
        lambda: child.exists() and f"Task work[{identity}] succeeded" in child.read_text(), 30, "the child's log"
    )
    assert "logged hello" in child.read_text() and "printed hello" in child.read_text()
    wait_until(lambda: identity in parent.read_text(), 30, "the parent's log")
    assert worker.warm() == 0
    assert identity not in worker.output()


@pytest.mark.usefixtures("ours")
def test_a_log_file_is_begun_anew_after_a_rotation(project: Project) -> None:
    path = project.home / "agent.log"
    worker = project.worker("-c1", "-linfo", "-f", str(path))
    wait_until(lambda: "ready" in path.read_text(), 30, "the log says ready")
    path.rename(project.home / "agent.log.1")
    identity = project.send(n=1)
    wait_until(lambda: path.exists() and f"Task work[{identity}] succeeded" in path.read_text(), 30, "the new log")
    wait_until(lambda: "received" in path.read_text(), 30, "the agent's own lines are there, too")
    assert worker.warm() == 0


def test_the_banner(project: Project) -> None:
    project.append("app.conf.broker_url = os.environ['PROJECT_BROKER'].replace('guest:guest', 'guest:gu%65st')\n")
    worker = project.worker("-linfo", "-c3")
    for text in (worker.node, project.queue, "3 (prefork)", "work"):
        assert text in worker.output()
    assert "guest:guest" not in worker.output() and "gu%65st" not in worker.output()
    quiet = project.worker(general=["-q"], node=f"quiet@{socket.gethostname()}")
    assert project.queue not in quiet.output()
