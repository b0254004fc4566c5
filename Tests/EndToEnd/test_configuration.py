"""Wrong configurations: each has its exit status and says in one line what is wrong."""

from __future__ import annotations

import base64
import json
import signal
import socket
import sysconfig
import venv
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from armada_testing.agent import agent_command, pod_environment
from armada_testing.processes import Process, free_port
from armada_testing.procfs import descendants, wait_gone

from .conftest import Run

pytestmark = pytest.mark.usefixtures("ours")


@dataclass(frozen=True)
class Wrong:
    """`says`: what the message names. `lines`: the most lines the whole output may have, `None` with a traceback."""

    name: str
    status: int
    says: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    definition: Any = None
    undefined: bool = False
    lines: int | None = 1


def code(source: str) -> dict[str, str]:
    return {"code": source}


SYNTAX_ERROR = "import os\n\ndef job(:\n    pass\n"
RAISES = "x = 1\n\ndef inner():\n    raise LookupError('from the project')\n\ninner()\n"

WRONGS = [
    Wrong("no RUN_ID", 78, ("RUN_ID",), without=("RUN_ID",)),
    Wrong("empty RUN_ID", 78, ("RUN_ID",), environment={"RUN_ID": ""}),
    Wrong("port is no number", 78, ("REDIS_PORT_VAR_ENV", "many"), environment={"REDIS_PORT_VAR_ENV": "many"}),
    Wrong("broker is no URL", 78, ("RABBITMQ_URL",), environment={"RABBITMQ_URL": "http://localhost"}),
    Wrong("no such Python", 78, ("AGENT_PYTHON",), environment={"AGENT_PYTHON": "/nonexistent/python"}),
    Wrong("requirements are not base64", 78, ("REQUIREMENTS_TXT",), environment={"REQUIREMENTS_TXT": "%%%"}),
    Wrong("no definition", 69, ("{run_id}0",), undefined=True, lines=None),
    Wrong("Redis out of reach", 69, ("127.0.0.1",), environment={"REDIS_PORT_VAR_ENV": "{free_port}"}, lines=None),
    Wrong("definition is not JSON", 78, ("JSON",), definition="{nope"),
    Wrong("definition is a list", 78, ("{run_id}0",), definition=[1]),
    Wrong("no code", 78, ("code",), definition={"run_id": "x"}),
    Wrong("code is a number", 78, ("code",), definition={"code": 5}),
    Wrong("syntax error", 70, ("SyntaxError", "line 3"), definition=code(SYNTAX_ERROR), lines=None),
    Wrong(
        "missing module",
        70,
        ("ModuleNotFoundError", "line 1"),
        definition=code("import absent_one"),
        lines=None,
    ),
    Wrong("raises", 70, ("LookupError", "from the project", "line 4", "line 6"), definition=code(RAISES), lines=None),
    Wrong("exits", 70, ("SystemExit",), definition=code("raise SystemExit(0)"), lines=None),
]


@pytest.mark.parametrize("wrong", WRONGS, ids=lambda wrong: wrong.name)
def test_a_wrong_configuration(run: Run, wrong: Wrong) -> None:
    values = {"run_id": run.run_id, "free_port": str(free_port())}
    if wrong.definition is not None:
        raw = wrong.definition if isinstance(wrong.definition, str) else json.dumps(wrong.definition)
        run.project.define_raw(raw)
    run_id = f"{run.run_id}-undefined" if wrong.undefined else run.run_id
    settings = {
        "RUN_ID": run_id,
        "POD_INDEX": "0",
        "RABBITMQ_URL": run.broker.url,
        "REDIS_HOST_VAR_ENV": run.store.host,
        "REDIS_PORT_VAR_ENV": str(run.store.port),
        "AGENT_DEFINITION_DEADLINE": "2",
        **{name: value.format(**values) for name, value in wrong.environment.items()},
    }
    for name in wrong.without:
        del settings[name]
    with Process(agent_command("agent"), run.home / "agent.log", pod_environment(settings)) as process:
        status = process.wait(40)
        output = process.output()
    assert status == wrong.status, output
    for text in wrong.says:
        expected = text.format(run_id=run_id, **{k: v for k, v in values.items() if k != "run_id"})
        assert expected in output, output
    if wrong.lines is not None:
        assert len(output.strip().splitlines()) <= wrong.lines, output
    assert "Fatal error" not in output
    assert "guest:guest" not in output


def test_wrong_usage(tmp_path: Path) -> None:
    with Process([*agent_command("agent"), "--no-such-option"], tmp_path / "log", pod_environment({})) as process:
        assert process.wait(20) == 64
        assert "--no-such-option" in process.output()


def test_help(tmp_path: Path) -> None:
    with Process([*agent_command("agent"), "--help"], tmp_path / "log", pod_environment({})) as process:
        assert process.wait(20) == 0
        assert "worker" in process.output()


def write_wheel(folder: Path, module: str) -> Path:
    """The smallest wheel that holds one module; needs no build and no package index."""
    name = f"{module}-1-py3-none-any.whl"
    info = f"{module}-1.dist-info"
    files = {
        f"{module}.py": "ANSWER = 42\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / name, "w") as wheel:
        for path, content in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(path, content)
    return folder / name


def test_requirements_are_installed_before_the_code_is_loaded(run: Run) -> None:
    wheel = write_wheel(run.home, "armada_end_to_end_probe")
    environment = run.home / "venv"
    venv.create(environment, with_pip=True)
    # Celery and the rest come from the environment of the tests; only the requirement is installed.
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run.project.code = f"import armada_end_to_end_probe\n{run.project.code}"
    run.project.define(journal=str(run.journal))
    requirements = base64.b64encode(f"{wheel}\n".encode()).decode()
    python = str(environment / "bin" / "python")
    run.agent(environment={"REQUIREMENTS_TXT": requirements, "AGENT_PYTHON": python})
    run.dispatch(1)
    run.wait_for("end", 1)
    assert (site / "armada_end_to_end_probe.py").exists()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_an_installation_that_hangs_ends_with_the_agent(run: Run, end: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        text = f"--index-url {index}\nno-such-package-of-the-agents-tests\n"
        requirements = base64.b64encode(text.encode()).decode()
        agent = run.agent(ready=False, environment={"REQUIREMENTS_TXT": requirements, "UV_HTTP_TIMEOUT": "300"})
        silent.settimeout(60)
        # The installer asks the index, which never answers.
        connection, _ = silent.accept()
        with connection:
            installers = descendants(agent.pid)
            assert installers
            agent.process.send(end)
            assert agent.process.wait(20) == (0 if end == signal.SIGTERM else -end)
            wait_gone(installers, 10)
