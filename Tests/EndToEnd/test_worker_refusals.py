"""`armada-agent worker -A MODULE`: what is wrong with a command line or a project, and how it is told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .worker_project import Project

pytestmark = pytest.mark.usefixtures("ours")


@dataclass(frozen=True)
class Wrong:
    """`says`: what the output names."""

    name: str
    status: int
    says: tuple[str, ...]
    arguments: tuple[str, ...] = ("-A", "proj")
    code: str = ""
    environment: dict[str, str] = field(default_factory=dict)


STEP = """
from celery import bootsteps
class Probe(bootsteps.StartStopStep):
    pass
app.steps["worker"].add(Probe)
"""
STRATEGY = """
from celery.worker.request import Request
class Mine(Request):
    pass
@app.task(Request=Mine)
def special():
    pass
"""

WRONGS = [
    Wrong("no such module", 70, ("-A nope", "no module 'nope'", "--workdir"), ("-A", "nope")),
    Wrong("no such app", 70, ("-A proj:nope", "no 'nope'", "MODULE:APP"), ("-A", "proj:nope")),
    Wrong("a module without an app", 70, ("no Celery app", "'json'"), ("-A", "json")),
    Wrong("no app at all", 70, ("a function", "a Celery app"), ("-A", "proj:note")),
    Wrong("missing module", 70, ("ModuleNotFoundError: No module named 'absent'", "proj.py"), code="import absent\n"),
    Wrong("syntax error", 70, ("SyntaxError", "proj.py"), code="def work(:\n"),
    Wrong("raises", 70, ("LookupError: from the project", "proj.py"), code="raise LookupError('from the project')\n"),
    Wrong("exits", 70, ("sys.exit(3)",), code="sys.exit(3)\n"),
    Wrong("include of nothing", 70, ("No module named 'absent'",), ("-A", "proj", "-I", "absent")),
    Wrong("unknown option", 64, ("--concurency", "--help"), ("-A", "proj", "--concurency", "3")),
    Wrong("missing value", 64, ("Missing value for '-c'",), ("-A", "proj", "-c")),
    Wrong("wrong value", 64, ("--concurrency", "many", "auto"), ("-A", "proj", "-c", "many")),
    Wrong("wrong variable", 64, ("CELERY_WORKER_POOL", "gevent"), environment={"CELERY_WORKER_POOL": "gevent"}),
    Wrong("a pool of threads", 64, ("--pool", "threads", "celery worker"), ("-A", "proj", "-P", "threads")),
    Wrong("in the background", 64, ("--detach", "systemd"), ("-A", "proj", "-D")),
    Wrong("with a scheduler", 64, ("--beat", "celery beat"), ("-A", "proj", "-B")),
    Wrong("unknown setting", 64, ("worker.nope=1", "NAMESPACE.SETTING=VALUE"), ("-A", "proj", "worker.nope=1")),
    Wrong("setting without value", 64, ("worker.pool", "NAMESPACE.SETTING=VALUE"), ("-A", "proj", "worker.pool")),
    Wrong("wrong setting", 64, ("worker.lost_wait=x",), ("-A", "proj", "worker.lost_wait=x")),
    Wrong("a wrong number", 78, ("worker_concurrency", "'many'"), code="app.conf.worker_concurrency = 'many'\n"),
    Wrong("no such folder", 64, ("--workdir", "/dev/null/absent"), ("-A", "proj", "--workdir", "/dev/null/absent")),
    Wrong("no such user", 78, ("--uid", "nobody-here"), ("-A", "proj", "--uid", "nobody-here")),
    Wrong("no log file", 78, ("--logfile", "/dev/null/absent/log"), ("-A", "proj", "-f", "/dev/null/absent/log")),
    Wrong(
        "no process file",
        78,
        ("--pidfile", "/dev/null/absent/pid"),
        ("-A", "proj", "--pidfile", "/dev/null/absent/pid"),
    ),
    Wrong("another broker", 78, ("broker_url", "redis", "celery worker"), ("-A", "proj", "-b", "redis://localhost/0")),
    Wrong("a broker in memory", 78, ("broker_url", "memory"), environment={"PROJECT_BROKER": "memory://"}),
    Wrong("a wrong password", 78, ("broker_url", "ACCESS_REFUSED"), environment={"PROJECT_BROKER": "{wrong}"}),
    Wrong(
        "a broker out of reach",
        69,
        ("broker_url", "127.0.0.1:1"),
        environment={"PROJECT_BROKER": "amqp://127.0.0.1:1"},
        code="app.conf.broker_connection_retry_on_startup = False\n",
    ),
    Wrong("a ciphers option", 78, ("broker_use_ssl", "ciphers"), code="app.conf.broker_use_ssl = {'ciphers': 'x'}\n"),
    Wrong("a bootstep", 78, ("app.steps['worker']", "proj.Probe"), code=STEP),
    Wrong("a request class", 78, ("proj.special", "proj:Mine"), code=STRATEGY),
    Wrong("a worker class", 78, ("app.Worker", "proj:Mine"), code="class Mine: pass\napp.Worker = Mine\n"),
    Wrong("a pool setting", 78, ("worker_pool", "gevent", "-P prefork"), code="app.conf.worker_pool = 'gevent'\n"),
    Wrong("a consumer class", 78, ("worker_consumer", "x:Y"), code="app.conf.worker_consumer = 'x:Y'\n"),
    Wrong(
        "an autoscaler class",
        78,
        ("worker_autoscaler", "x:Y"),
        ("-A", "proj", "--autoscale=3,1"),
        code="app.conf.worker_autoscaler = 'x:Y'\n",
    ),
    Wrong("a process file setting", 78, ("worker_pidfile", "--pidfile"), code="app.conf.worker_pidfile = '/x'\n"),
    Wrong(
        "an unknown queue",
        78,
        ("-Q", "'absent'", "task_create_missing_queues"),
        ("-A", "proj", "-Q", "absent"),
        code="app.conf.task_create_missing_queues = False\n",
    ),
]


@pytest.mark.parametrize("wrong", WRONGS, ids=lambda wrong: wrong.name)
def test_what_is_wrong_is_told(project: Project, wrong: Wrong) -> None:
    project.append(wrong.code)
    wrong_url = project.broker.url.replace("guest:guest", "guest:not-the-one")
    environment = {name: value.format(wrong=wrong_url) for name, value in wrong.environment.items()}
    status, output = project.run(*wrong.arguments, environment=environment)
    assert status == wrong.status, output
    for text in wrong.says:
        assert text in output, output
    assert "Fatal error" not in output
    assert "guest:guest" not in output and "not-the-one" not in output


def test_a_traceback_begins_with_the_projects_own_lines(project: Project) -> None:
    project.append("import broken\n")
    project.write("broken.py", "x = 1\nraise LookupError('from the project')\n")
    status, output = project.run("-A", "proj")
    assert status == 70
    files = re.findall(r'File "([^"]+)", line (\d+)', output)
    assert [Path(name).name for name, _ in files if not name.startswith("<frozen")] == ["proj.py", "broken.py"]
    assert files[-1][1] == "2"


def test_everything_that_is_wrong_is_told_at_once(project: Project) -> None:
    status, output = project.run("-A", "proj", "-B", "-D", "-c", "many")
    assert status == 64
    assert all(option in output for option in ("--beat", "--detach", "--concurrency"))
    project.append(STEP + "app.conf.worker_pool = 'gevent'\n")
    status, output = project.run("-A", "proj")
    assert status == 78
    assert "proj.Probe" in output and "gevent" in output


def test_what_hurts_nobody_is_a_warning(project: Project) -> None:
    project.append("app.conf.event_serializer = 'yaml'\napp.conf.broker_transport_options = {'read_timeout': 5}\n")
    worker = project.worker("--disable-prefetch")
    for text in ("worker_disable_prefetch", "event_serializer", "read_timeout"):
        worker.wait_output(text)


def test_help(project: Project) -> None:
    status, output = project.run("--help")
    assert status == 0
    assert "--soft-time-limit" in output and "--detach" not in output
