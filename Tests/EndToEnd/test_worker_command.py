"""`armada-agent worker -A MODULE`: the options of `celery worker` where they show."""

from __future__ import annotations

import os
import signal
import socket
import stat

import pytest

from armada_testing.agent import agent_command, pod_environment
from armada_testing.processes import Process, wait_until
from armada_testing.redis_server import Redis
from armada_testing.worker import client

from .worker_project import CODE, Project

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
