"""`armada-agent worker -A MODULE`: the options of `celery worker` where they show, and what is refused."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from armada_testing.agent import agent_command, pod_environment
from armada_testing.processes import Process, wait_until
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.redis_server import Redis
from armada_testing.worker import Journal, Worker, client

# Settings and tasks of every project here; a test appends what it is about.
CODE = """
import json, os, sys, time
from celery import Celery, signals
from celery.utils.log import get_task_logger

app = Celery("proj", broker=os.environ.get("PROJECT_BROKER"))
app.conf.task_default_queue = os.environ["PROJECT_QUEUE"]
log = get_task_logger(__name__)


def note(event, **fields):
    line = json.dumps({"event": event, "pid": os.getpid(), **fields}, default=repr)
    with open(os.environ["PROJECT_JOURNAL"], "a") as journal:
        journal.write(line + "\\n")


@app.task(name="work")
def work(n=0, until=None, say=None):
    note("start", n=n)
    if say:
        print("printed " + say)
        log.info("logged " + say)
    while until and not os.path.exists(until):
        time.sleep(0.005)
    note("end", n=n)
    return n


@app.task(bind=True, name="request")
def request(self):
    note("request", hostname=self.request.hostname, argv=sys.argv, cwd=os.getcwd(), path=sys.path)
"""


class Project:
    """A project in a folder of its own, with a queue of its own."""

    def __init__(self, broker: RabbitMQ, home: Path, resources: ExitStack) -> None:
        self.broker = broker
        self.home = home
        self.folder = home / "project"
        self.folder.mkdir()
        self.queue = f"proj-{uuid.uuid4().hex[:8]}"
        self.journal = Journal(home / "journal")
        self.gate = home / "gate"
        self._workers = 0
        self._resources = resources
        self.write("proj.py", CODE)

    def write(self, name: str, code: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(code)

    def append(self, code: str) -> None:
        self.write("proj.py", CODE + code)

    @property
    def environment(self) -> dict[str, str]:
        return {"PROJECT_QUEUE": self.queue, "PROJECT_BROKER": self.broker.url, **self.journal.environment}

    def worker(
        self,
        *options: str,
        general: Sequence[str] = (),
        module: str = "proj",
        queue: str | None = None,
        node: str | None = None,
        environment: Mapping[str, str] | None = None,
        **keywords: Any,
    ) -> Worker:
        """A worker that is ready."""
        self._workers += 1
        worker = Worker(
            self.broker,
            log=self.home / f"worker-{self._workers}.log",
            node=node,
            queue=queue or self.queue,
            options=options,
            general=general,
            module=module,
            folder=self.folder,
            environment={**self.environment, **(environment or {})},
            **keywords,
        )
        self._resources.enter_context(worker)
        worker.wait_ready()
        return worker

    @property
    def client(self) -> Celery:
        return client(self.broker)

    def send(self, task: str = "work", queue: str | None = None, **arguments: Any) -> str:
        sent = self.client.send_task(task, kwargs=arguments, queue=queue or self.queue)
        return str(sent.id)

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """A worker that is to end by itself: its exit status and output."""
        variables = pod_environment({**self.environment, **(environment or {})})
        command = [*agent_command("agent"), "worker", *arguments]
        with Process(command, self.home / "output", variables, cwd=self.folder) as process:
            return process.wait(30), process.output()


@pytest.fixture
def project(broker: RabbitMQ, tmp_path: Path) -> Iterator[Project]:
    with ExitStack() as resources:
        yield Project(broker, tmp_path, resources)


# What to load.


@pytest.mark.parametrize(
    ("files", "module"),
    [
        ({}, "proj"),
        ({}, "proj:app"),
        ({"pack/__init__.py": "", "pack/celery.py": "from proj import app\n"}, "pack"),
        ({"named.py": "from proj import app as mine\n"}, "named:mine"),
        ({"hidden.py": "import proj\nsomething = proj.app\n"}, "hidden"),
    ],
)
def test_an_app_is_found_as_celery_finds_it(project: Project, files: dict[str, str], module: str) -> None:
    for name, code in files.items():
        project.write(name, code)
    project.worker(module=module)
    project.send(n=1)
    project.journal.wait_for("end", n=1)


@pytest.mark.usefixtures("ours")
def test_a_command_line_of_celerys_by_another_name(project: Project) -> None:
    """Options of `celery` before the word `worker`."""
    command = [*agent_command("agent"), "-A", "proj", "-q", "worker", "--loglevel=INFO", "-c1"]
    with Process(command, project.home / "output", pod_environment(project.environment), cwd=project.folder) as process:
        project.send(n=1)
        project.journal.wait_for("end", n=1)
        process.send(signal.SIGTERM)
        assert process.wait(30) == 0


def test_the_working_directory(project: Project) -> None:
    project.write("below/other.py", "from proj import app\n")
    (project.folder / "below" / "proj.py").write_text(CODE)
    (project.folder / "proj.py").unlink()
    project.worker("-c1", general=["--workdir", "below"], module="other")
    project.send("request")
    (seen,) = project.journal.wait_for("request")
    assert seen["cwd"] == str(project.folder / "below")
    assert "worker" in seen["argv"]


@pytest.mark.usefixtures("ours")
def test_without_an_app_a_configuration_module(project: Project) -> None:
    project.write(
        "settings.py",
        "import os\nbroker_url = os.environ['PROJECT_BROKER']\n"
        "task_default_queue = os.environ['PROJECT_QUEUE']\nimports = ['tasks']\n",
    )
    project.write(
        "tasks.py",
        "import os\nfrom celery import shared_task\n\n@shared_task(name='work')\ndef work(n):\n"
        "    open(os.environ['PROJECT_JOURNAL'], 'a').write('{\"event\": \"end\"}\\n')\n",
    )
    command = [*agent_command("agent"), "worker", "--config", "settings"]
    with Process(command, project.home / "output", pod_environment(project.environment), cwd=project.folder):
        project.send(n=1)
        project.journal.wait_for("end")


def test_further_modules(project: Project) -> None:
    project.write("more.py", "from proj import app, note\n\n@app.task(name='more')\ndef more():\n    note('more')\n")
    project.worker("-I", "more")
    project.send("more")
    project.journal.wait_for("more")


def test_the_projects_own_options(project: Project) -> None:
    project.append(
        """
from click import Option
app.user_options["worker"].add(Option(["--flavour"], default="none"))
app.user_options["preload"].add(Option(["-Z", "--zone"]))

@signals.user_preload_options.connect
def preload(options, **_):
    note("preload", options=options)

@signals.celeryd_init.connect
def start(options, **_):
    note("options", flavour=options["flavour"], zone=options["zone"], loglevel=options["loglevel"])
"""
    )
    project.worker("--flavour", "sweet", "-Z", "north")
    assert project.journal.wait_for("preload")[0]["options"] == {"zone": "north"}
    (options,) = project.journal.wait_for("options")
    assert (options["flavour"], options["zone"]) == ("sweet", "north")


def test_the_broker_and_the_result_backend_of_the_command_line(project: Project, store: Redis) -> None:
    url = f"redis://{store.host}:{store.port}/1"
    environment = {"PROJECT_BROKER": "amqp://nobody:wrong@127.0.0.1:1//"}
    project.worker(general=["-b", project.broker.url, "--result-backend", url], environment=environment)
    sent = client(project.broker, url).send_task("work", kwargs={"n": 7}, queue=project.queue)
    assert sent.get(timeout=30) == 7


# Queues.


def test_selected_queues(project: Project) -> None:
    one, two = f"{project.queue}-1", f"{project.queue}-2"
    project.worker("-Q", f"{one},{two}", queue=two)
    for number, queue in enumerate((one, two)):
        project.send(queue=queue, n=number)
        project.journal.wait_for("end", n=number)
    assert project.broker.counts(project.queue) is None


def test_excluded_queues(project: Project) -> None:
    project.append(
        "from kombu import Queue\n"
        f"app.conf.task_queues = [Queue({project.queue!r}), Queue({project.queue + '-not'!r})]\n"
    )
    project.worker("-X", f"{project.queue}-not")
    project.send(n=1)
    project.journal.wait_for("end", n=1)
    assert project.broker.counts(f"{project.queue}-not") is None


def test_purge(project: Project) -> None:
    assert project.worker().warm() == 0
    for _ in range(3):
        project.send(n=1)
    project.worker("--purge")
    project.send(n=2)
    project.journal.wait_for("end", n=2)
    assert not project.journal.entries("start", n=1)


def test_a_queue_of_the_workers_own(project: Project) -> None:
    project.append("app.conf.worker_direct = True\n")
    node = f"direct@{socket.gethostname()}"
    queue = f"{node}.dq2"
    project.worker("-Q", project.queue, node=node, queue=queue)
    project.client.send_task("work", kwargs={"n": 1}, exchange="C.dq2", routing_key=node)
    project.journal.wait_for("end", n=1)


# Processes.


def test_concurrency(project: Project) -> None:
    project.worker("-c", "2")
    for number in range(3):
        project.send(n=number, until=str(project.gate))
    starts = project.journal.wait_for("start", times=2)
    assert len({start["pid"] for start in starts}) == 2
    assert len(project.journal.entries("start")) == 2
    project.gate.touch()
    project.journal.wait_for("end", times=3)


def test_solo(project: Project) -> None:
    worker = project.worker("-P", "solo", "-c", "4")
    worker.wait_answers(project.client)
    stats = project.client.control.inspect([worker.node], timeout=5).stats() or {}
    assert "solo" in stats[worker.node]["pool"]["implementation"]
    project.send(n=1)
    project.journal.wait_for("end", n=1)


@pytest.mark.usefixtures("ours")
def test_settings_in_place_of_options(project: Project) -> None:
    project.append(
        "app.conf.update(worker_pool='solo', worker_prefetch_multiplier=3, worker_send_task_events=True,\n"
        "                task_time_limit=50, task_soft_time_limit=40, worker_max_tasks_per_child=9)\n"
    )
    worker = project.worker()
    worker.wait_answers(project.client)
    stats = (project.client.control.inspect([worker.node], timeout=5).stats() or {})[worker.node]
    assert "solo" in stats["pool"]["implementation"]
    assert (stats["pool"]["max-concurrency"], stats["prefetch_count"]) == (1, 3)
    assert stats["pool"]["timeouts"] == [40, 50]
    assert stats["pool"]["max-tasks-per-child"] == 9
    answer = project.client.control.enable_events(destination=[worker.node], reply=True, timeout=5)
    assert answer == [{worker.node: {"ok": "task events already enabled"}}]


def test_processes_are_replaced_after_their_number_of_tasks(project: Project) -> None:
    project.worker("-c", "1", "--max-tasks-per-child", "2")
    for number in range(4):
        project.send(n=number)
    ends = project.journal.wait_for("end", times=4)
    pids = [end["pid"] for end in sorted(ends, key=lambda end: end["n"])]
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_names_are_expanded(project: Project) -> None:
    worker = project.worker(node="w-%n@%h")
    host = socket.gethostname()
    worker.node = f"w-{host.partition('.')[0]}@{host}"
    worker.wait_answers(project.client)
    project.send("request")
    assert project.journal.wait_for("request")[0]["hostname"] == worker.node


def test_settings_behind_the_options(project: Project) -> None:
    """Also the type in parentheses, and Celery's shorthand for its own namespace."""
    other = f"{project.queue}-other"
    worker = project.worker(
        "-c1", "--", f"task.default_queue={other}", "worker.prefetch_multiplier=7", "_lost_wait=(float)3", queue=other
    )
    worker.wait_answers(project.client)
    if worker.kind == "agent":  # Celery's has read this one before it reads what stands behind the options.
        stats = project.client.control.inspect([worker.node], timeout=5).stats() or {}
        assert stats[worker.node]["prefetch_count"] == 7
    project.send(queue=other, n=1)
    project.journal.wait_for("end", n=1)


def test_celerys_environment_variables(project: Project) -> None:
    other = f"{project.queue}-other"
    project.worker("-c1", environment={"CELERY_WORKER_QUEUES": other}, queue=other)
    project.send(queue=other, n=1)
    project.journal.wait_for("end", n=1)


# Logging.


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


# The process.


def test_the_process_file(project: Project) -> None:
    path = project.home / "pid"
    worker = project.worker("--pidfile", str(path))
    assert path.read_text() == f"{worker.pid}\n"
    assert worker.warm() == 0
    assert not path.exists()


@pytest.mark.usefixtures("ours")
def test_a_second_worker_respects_the_process_file(project: Project) -> None:
    path = project.home / "pid"
    worker = project.worker("--pidfile", str(path))
    status, output = project.run("-A", "proj", "--pidfile", str(path))
    assert status == 78
    assert str(path) in output and str(worker.pid) in output
    assert path.read_text() == f"{worker.pid}\n"


def test_a_stale_process_file_is_replaced(project: Project) -> None:
    path = project.home / "pid"
    worker = project.worker("--pidfile", str(path))
    worker.process.kill()
    assert path.exists()
    again = project.worker("--pidfile", str(path))
    assert path.read_text() == f"{again.pid}\n"


@pytest.mark.usefixtures("ours")
def test_the_mask_of_new_files(project: Project) -> None:
    path = project.home / "agent.log"
    project.worker("--umask", "077", "-f", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.usefixtures("ours")
def test_a_restart_by_sighup_is_the_same_command(project: Project) -> None:
    """Also where the command names files and folders that are not absolute."""
    project.write("below/other.py", "from proj import app\n")
    (project.folder / "below" / "proj.py").write_text(CODE)
    worker = project.worker(
        "-c1", "-linfo", "--pidfile", "pid", "-f", "log", general=["--workdir", "below"], module="other"
    )
    path, log = project.folder / "below" / "pid", project.folder / "below" / "log"
    project.send(n=1)
    (first,) = project.journal.wait_for("end", n=1)
    worker.process.send(signal.SIGHUP)
    wait_until(lambda: log.read_text().count(" info ready ") == 2, 30, "it has started anew")
    project.send(n=2)
    (second,) = project.journal.wait_for("end", n=2)
    assert first["pid"] != second["pid"]
    assert path.read_text() == f"{worker.pid}\n"
    assert worker.warm() == 0
    assert not path.exists()


def test_ctrl_c(project: Project) -> None:
    """The task that runs ends; the next one goes back to its queue."""
    worker = project.worker("-c1")
    project.send(n=1, until=str(project.gate))
    project.journal.wait_for("start", n=1)
    project.send(n=2)
    wait_until(lambda: project.broker.depths(project.queue) == (0, 1), 30, "the next one waits at the worker")
    # A terminal signals the whole process group.
    os.killpg(worker.pid, signal.SIGINT)
    wait_until(lambda: (project.broker.counts(project.queue) or (0, 1))[1] == 0, 30, "it consumes no more")
    project.gate.touch()
    # Celery's own ends with 1 here.
    assert worker.wait_ended() in (0, 1)
    assert project.journal.entries("end", n=1)
    assert not project.journal.entries("start", n=2)
    assert project.broker.depths(project.queue) == (1, 0)


def test_signals_of_the_start_come_in_celerys_order(project: Project) -> None:
    project.append(
        """
def receive(name):
    def receiver(sender=None, **fields):
        note("signal", name=name, fields=sorted(set(fields) - {"signal"}))
    return receiver

for name in ("import_modules", "celeryd_init", "worker_init", "after_setup_logger", "after_setup_task_logger",
             "celeryd_after_setup", "worker_before_create_process", "worker_process_init", "worker_ready"):
    getattr(signals, name).connect(receive(name), weak=False)
"""
    )
    project.worker("-c1")
    # These two are of different processes.
    for name in ("worker_ready", "worker_process_init"):
        project.journal.wait_for("signal", name=name)
    names = [entry["name"] for entry in project.journal.entries("signal")]
    assert sorted(names[-2:]) == ["worker_process_init", "worker_ready"]
    assert names[:-2] == [
        "import_modules",
        "celeryd_init",
        "worker_init",
        "after_setup_logger",
        "after_setup_task_logger",
        "celeryd_after_setup",
        "worker_before_create_process",
    ]
    (init,) = project.journal.entries("signal", name="celeryd_init")
    assert init["fields"] == ["conf", "instance", "options"]


def test_a_receiver_of_celeryd_init_changes_the_configuration(project: Project) -> None:
    project.append(
        """
@signals.celeryd_init.connect
def configure(sender, instance, conf, **_):
    note("worker", sender=sender, hostname=instance.hostname)
    conf.worker_prefetch_multiplier = 9

@signals.celeryd_after_setup.connect
def direct(sender, instance, **_):
    instance.app.amqp.queues.select_add(os.environ["PROJECT_QUEUE"] + "-direct")
"""
    )
    direct = f"{project.queue}-direct"
    worker = project.worker("-c1", queue=direct)
    worker.wait_answers(project.client)
    (seen,) = project.journal.wait_for("worker")
    assert seen["sender"] == seen["hostname"] == worker.node
    if worker.kind == "agent":
        stats = project.client.control.inspect([worker.node], timeout=5).stats() or {}
        assert stats[worker.node]["prefetch_count"] == 9
    project.send(queue=direct, n=1)
    project.journal.wait_for("end", n=1)


# What is refused.


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


@pytest.mark.usefixtures("ours")
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


@pytest.mark.usefixtures("ours")
def test_a_traceback_begins_with_the_projects_own_lines(project: Project) -> None:
    project.append("import broken\n")
    project.write("broken.py", "x = 1\nraise LookupError('from the project')\n")
    status, output = project.run("-A", "proj")
    assert status == 70
    files = re.findall(r'File "([^"]+)", line (\d+)', output)
    assert [Path(name).name for name, _ in files if not name.startswith("<frozen")] == ["proj.py", "broken.py"]
    assert files[-1][1] == "2"


@pytest.mark.usefixtures("ours")
def test_everything_that_is_wrong_is_told_at_once(project: Project) -> None:
    status, output = project.run("-A", "proj", "-B", "-D", "-c", "many")
    assert status == 64
    assert all(option in output for option in ("--beat", "--detach", "--concurrency"))
    project.append(STEP + "app.conf.worker_pool = 'gevent'\n")
    status, output = project.run("-A", "proj")
    assert status == 78
    assert "proj.Probe" in output and "gevent" in output


@pytest.mark.usefixtures("ours")
def test_what_hurts_nobody_is_a_warning(project: Project) -> None:
    project.append("app.conf.event_serializer = 'yaml'\napp.conf.broker_transport_options = {'read_timeout': 5}\n")
    worker = project.worker("--disable-prefetch")
    for text in ("worker_disable_prefetch", "event_serializer", "read_timeout"):
        worker.wait_output(text)


@pytest.mark.usefixtures("ours")
def test_help(project: Project) -> None:
    status, output = project.run("--help")
    assert status == 0
    assert "--soft-time-limit" in output and "--detach" not in output
