"""Screens: real Xvfbs with real programs on them, whose pictures are looked at; at a desk and in a run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from armada_agent.sdk import ModuleError
from armada_agent.sdk.display import Display
from armada_testing import REPOSITORY
from armada_testing.agent import agent_binary
from armada_testing.desk import forget_agent
from armada_testing.processes import private_directory, wait_until
from armada_testing.procfs import is_alive, wait_gone

from .conftest import Run

RED, GREEN = (0xE0, 0x10, 0x20), (0x10, 0xC0, 0x40)


@dataclass(frozen=True)
class Picture:
    """A PNG, decoded by ImageMagick."""

    width: int
    height: int
    pixels: bytes

    @staticmethod
    def of(png: bytes) -> Picture:
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        size = subprocess.run(["identify", "-format", "%w %h", "png:-"], input=png, capture_output=True, check=True)
        width, height = map(int, size.stdout.split())
        pixels = subprocess.run(
            ["convert", "png:-", "-depth", "8", "rgb:-"], input=png, capture_output=True, check=True
        ).stdout
        assert len(pixels) == 3 * width * height
        return Picture(width, height, pixels)

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    def colour(self, x: int, y: int) -> tuple[int, ...]:
        at = 3 * (y * self.width + x)
        return tuple(self.pixels[at : at + 3])


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A script at a desk that has no screen; its agent ends with it."""
    for variable in ("DISPLAY", "XAUTHORITY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AGENT_BINARY", str(agent_binary()))
    forget_agent()
    yield
    forget_agent()


@pytest.fixture
def programs(desk: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only folder where the agent finds programs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text("#!/bin/sh\nPATH=/usr/bin:/bin\n" + script)
    (folder / name).chmod(0o755)


def server_of(display: str | None) -> int:
    """The process of a display's server; `OSError` where there is none."""
    assert display
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"/tmp/.X11-unix/X{display[1:]}")
        pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


def is_served(display: str) -> bool:
    try:
        return is_alive(server_of(display))
    except OSError:
        return False


def hexadecimal(colour: tuple[int, int, int]) -> str:
    return "#" + bytes(colour).hex()


@contextlib.contextmanager
def terminal(colour: tuple[int, int, int], environment: dict[str, str] | None = None) -> Iterator[None]:
    """A terminal of this colour in the upper left corner."""
    with subprocess.Popen(
        ["xterm", "-bg", hexadecimal(colour), "-geometry", "60x20+0+0", "-e", "sleep", "600"],
        env={**os.environ, **(environment or {})},
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.kill()


def wait_seen(display: Display, colour: tuple[int, int, int], at: tuple[int, int] = (200, 150)) -> Picture:
    def seen() -> Picture | None:
        picture = Picture.of(display.screenshot())
        return picture if picture.colour(*at) == colour else None

    return wait_until(seen, 60, f"{colour} is seen", interval=0.2)


class TestOneDisplay:
    def test_a_program_is_seen(self, desk: None, tmp_path: Path) -> None:
        with Display({"screen_width": 800, "screen_height": 600, "locale": "fr"}) as display:
            assert os.environ["DISPLAY"] == display.display
            assert display.size == (800, 600)
            assert Picture.of(display.screenshot()).colour(200, 150) == (0, 0, 0)
            with terminal(RED):
                picture = wait_seen(display, RED)
                assert picture.size == (800, 600)
                assert picture.colour(799, 599) == (0, 0, 0)
                written = tmp_path / "screen.png"
                assert display.screenshot(written) == written.read_bytes()

    def test_a_browser_is_seen(self, desk: None) -> None:
        if not shutil.which("chromium"):
            pytest.skip("no Chromium")
        page = f"data:text/html,<body style='background:rgb{GREEN}'><h1>A page</h1></body>"
        with private_directory("browser") as home, Display({"size": "1024x768"}) as display:
            command = ["chromium", "--kiosk", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage"]
            if os.geteuid() == 0:
                command.append("--no-sandbox")
            with subprocess.Popen(
                [*command, f"--user-data-dir={home / 'profile'}", page],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            ) as browser:
                try:
                    assert wait_seen(display, GREEN, (512, 600)).size == (1024, 768)
                finally:
                    os.killpg(browser.pid, signal.SIGKILL)

    @pytest.mark.parametrize("depth", [8, 15, 16, 24, 30])
    def test_sizes_and_depths(self, desk: None, depth: int, tmp_path: Path) -> None:
        file = tmp_path / "config_screen.json"
        file.write_text(json.dumps({"screen_width": 641, "screen_height": 483, "screen_depth": depth}))
        with Display(file) as display:
            assert Picture.of(display.screenshot()).size == (641, 483)

    def test_the_default(self, desk: None) -> None:
        with Display() as display:
            assert Picture.of(display.screenshot()).size == (1920, 1080)

    def test_it_is_for_this_user_alone(self, desk: None) -> None:
        with Display() as display:
            environment = {name: value for name, value in os.environ.items() if name != "XAUTHORITY"}
            stranger = subprocess.run(
                ["import", "-window", "root", "png:-"],
                env={**environment, "HOME": "/nonexistent"},
                capture_output=True,
                check=False,
            )
            assert stranger.returncode != 0
            assert b"Authorization required" in stranger.stderr
            secret = Path(os.environ["XAUTHORITY"])
            assert secret.stat().st_mode & 0o777 == 0o600
            listening = (
                subprocess.run(["ss", "-ltnp"], capture_output=True, text=True, check=False).stdout
                if shutil.which("ss")
                else ""
            )
            assert f"pid={server_of(display.display)}," not in listening
        forget_agent()
        wait_until(lambda: not secret.exists(), 10, "the secret is removed")

    def test_stop_and_start(self, desk: None) -> None:
        display = Display()
        assert repr(display) == f"<Display {display.display}>"
        first = server_of(display.display)
        assert display.start() is display
        assert server_of(display.display) == first
        display.stop()
        assert not is_alive(first)
        assert (display.display, display.size, repr(display)) == (None, None, "<Display stopped>")
        assert not display.is_alive()
        with pytest.raises(ModuleError, match=r"has been stopped.*start\(\) gives one") as caught:
            display.screenshot()
        assert caught.value.kind == "ended"
        display.stop()
        display.start()
        assert Picture.of(display.screenshot()).size == (1920, 1080)
        display.stop()

    def test_a_server_that_crashes(self, desk: None) -> None:
        display = Display()
        os.kill(server_of(display.display), signal.SIGSEGV)
        wait_until(lambda: not display.is_alive(), 10, "the end is seen")
        with pytest.raises(ModuleError, match=r"Xvfb has ended \(.*(Segmentation fault|SIGSEGV).*start\(\)") as caught:
            display.screenshot()
        assert caught.value.kind == "ended"
        display.start()
        assert display.is_alive()
        with terminal(RED):
            wait_seen(display, RED)
        display.stop()
        assert "DISPLAY" not in os.environ

    def test_from_asyncio(self, desk: None, tmp_path: Path) -> None:
        async def body() -> None:
            async with Display({"size": [320, 200]}, start=False) as display:
                assert os.environ["DISPLAY"] == display.display
                assert await display.is_alive_async()
                pictures = await asyncio.gather(
                    display.screenshot_async(tmp_path / "screen.png"), *(display.screenshot_async() for _ in range(3))
                )
                assert {Picture.of(picture).size for picture in pictures} == {(320, 200)}
                assert (tmp_path / "screen.png").read_bytes() == pictures[0]
                server = server_of(display.display)
            assert not is_alive(server)
            assert "DISPLAY" not in os.environ

        asyncio.run(body())


class TestSeveralDisplays:
    def test_each_has_a_number_and_its_own_programs(self, desk: None) -> None:
        with Display({"size": "640x480"}) as first:
            environment = dict(os.environ)
            with Display({"size": "800x600"}) as second, terminal(RED, environment), terminal(GREEN):
                assert first.display != second.display
                wait_seen(first, RED)
                wait_seen(second, GREEN)

    def test_many_threads_at_once(self, desk: None) -> None:
        displays: list[Display] = []
        threads = [threading.Thread(target=lambda: displays.append(Display({"size": "64x64"}))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({display.display for display in displays}) == 6
        servers = [server_of(display.display) for display in displays]
        assert all(map(is_alive, servers))
        for display in displays:
            display.stop()
        assert not any(map(is_alive, servers))
        assert "DISPLAY" not in os.environ

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
    def test_the_environment_is_the_last_ones_and_is_restored(
        self, desk: None, monkeypatch: pytest.MonkeyPatch, order: tuple[int, ...]
    ) -> None:
        monkeypatch.setenv("DISPLAY", ":77")
        displays = [Display({"size": "64x64"}) for _ in range(3)]
        running = [display.display for display in displays]
        assert os.environ["DISPLAY"] == running[-1]
        for number in order:
            running.remove(displays[number].display)
            displays[number].stop()
            assert os.environ["DISPLAY"] == (running[-1] if running else ":77")
        assert "XAUTHORITY" not in os.environ


class TestTheScreenThatIsThere:
    def test_without_one(self, desk: None) -> None:
        with pytest.raises(ModuleError, match="screen_visible is true, but DISPLAY is not set") as caught:
            Display({"screen_visible": True})
        assert caught.value.kind == "no_screen"
        with Display(), pytest.raises(ModuleError, match="DISPLAY is not set"):
            # A virtual one is not what is asked for.
            Display({"screen_visible": True})

    def test_it_is_used_and_left_alone(self, desk: None, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(
            "import os, sys\n"
            "from armada_agent.sdk.display import Display\n"
            "before = os.environ['DISPLAY']\n"
            "with Display({'screen_visible': True}) as there:\n"
            "    with Display({'size': '64x64'}) as own:\n"
            "        assert os.environ['DISPLAY'] == own.display != before\n"
            "        assert Display({'screen_visible': True}).display == before\n"
            "    assert (there.display, there.size) == (before, None)\n"
            "    there.screenshot(sys.argv[1])\n"
            "assert os.environ['DISPLAY'] == before\n"
        )
        with Display({"size": "640x480"}) as desktop, terminal(RED):
            wait_seen(desktop, RED)
            subprocess.run(
                [sys.executable, script, tmp_path / "screen.png"],
                env={**os.environ, "PYTHONPATH": str(REPOSITORY / "Python")},
                check=True,
                timeout=60,
            )
            picture = Picture.of((tmp_path / "screen.png").read_bytes())
            assert (picture.size, picture.colour(200, 150)) == ((640, 480), RED)
            assert desktop.is_alive()

    def test_one_that_is_not_served(self, desk: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DISPLAY", ":4242")
        display = Display({"screen_visible": 1})
        with pytest.raises(ModuleError, match=r"no picture of display :4242 .*unable to open X server") as caught:
            display.screenshot()
        assert caught.value.kind == "screenshot"
        display.stop()


class TestFailures:
    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"screen_width": "wide"}, 'config_screen: screen_width: found "wide", expected a number of pixels'),
            ({"depth": 3}, "config_screen: depth: found 3, expected 8, 15, 16, 24 or 30"),
            ({"screen_visible": "yes"}, 'config_screen: screen_visible: found "yes", expected true or false'),
        ],
    )
    def test_a_wrong_configuration(self, desk: None, config: dict[str, object], message: str) -> None:
        with pytest.raises(ModuleError, match=message) as caught:
            Display(config)
        assert caught.value.kind == "argument"
        assert "DISPLAY" not in os.environ

    def test_a_file_that_can_not_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            Display(tmp_path / "nothing.json")
        (tmp_path / "list.json").write_text("[]")
        with pytest.raises(ValueError, match="expected a JSON object"):
            Display(tmp_path / "list.json")

    def test_no_xvfb(self, programs: Path) -> None:
        with pytest.raises(ModuleError, match=r"no program 'Xvfb' in PATH .*: install Debian's package xvfb") as caught:
            Display()
        assert caught.value.kind == "missing"

    def test_no_imagemagick(self, programs: Path) -> None:
        (programs / "Xvfb").symlink_to("/usr/bin/Xvfb")
        (programs / "sh").symlink_to("/bin/sh")
        with Display() as display, pytest.raises(ModuleError, match="install Debian's package imagemagick") as caught:
            display.screenshot()
        assert caught.value.kind == "missing"

    def test_a_server_that_does_not_start(self, programs: Path) -> None:
        program(programs, "Xvfb", "echo 'Fatal server error: no more bits' >&2; exit 1")
        with pytest.raises(ModuleError, match=r"Xvfb has ended \(exitcode 1\).*no more bits") as caught:
            Display()
        assert caught.value.kind == "start"
        assert "DISPLAY" not in os.environ

    @pytest.mark.parametrize("script", ["echo 'no image today' >&2; exit 1", "echo 'no image today' >&2"])
    def test_a_picture_that_does_not_come(self, programs: Path, script: str) -> None:
        program(programs, "Xvfb", 'exec /usr/bin/Xvfb "$@"')
        program(programs, "import", script)
        with Display() as display, pytest.raises(ModuleError, match=r"gave no picture .*no image today") as caught:
            display.screenshot()
        assert caught.value.kind == "screenshot"

    def test_a_start_that_is_given_up(self, programs: Path, tmp_path: Path) -> None:
        program(programs, "Xvfb", f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 600")

        async def give_up() -> None:
            starting = asyncio.create_task(Display(start=False).start_async())
            while not (tmp_path / "pid").exists():
                await asyncio.sleep(0.02)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting

        asyncio.run(asyncio.wait_for(give_up(), 30))
        wait_gone([int((tmp_path / "pid").read_text())], 10)


class TestForks:
    def test_a_forked_process_uses_it_and_leaves_it(self, desk: None) -> None:
        with Display({"size": "64x64"}) as display:
            pid = os.fork()
            if pid == 0:
                good = Picture.of(display.screenshot()).size == (64, 64)
                display.stop()
                os._exit(0 if good and "DISPLAY" not in os.environ else 1)
            assert os.waitpid(pid, 0)[1] == 0
            assert display.is_alive()
            assert os.environ["DISPLAY"] == display.display

    def test_one_that_a_forked_process_has_started_ends_with_that(self, desk: None, tmp_path: Path) -> None:
        with Display({"size": "64x64"}) as display:
            pid = os.fork()
            if pid == 0:
                (tmp_path / "server").write_text(str(server_of(Display({"size": "64x64"}).display)))
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            wait_gone([int((tmp_path / "server").read_text())], 10)
            assert display.is_alive()


SCRIPT = """
import sys, time
from armada_agent.sdk.display import Display
display = Display({"size": "64x64"})
print(display.display, flush=True)
if sys.argv[1] == "waits":
    time.sleep(600)
"""


@pytest.mark.parametrize("end", ["exits", "killed"])
def test_it_ends_with_its_script(desk: None, end: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "waits" if end == "killed" else end],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "Python")},
        stdout=subprocess.PIPE,
        text=True,
    ) as script:
        assert script.stdout
        number = script.stdout.readline().strip()
        if end == "killed":
            server = server_of(number)
            script.kill()
            wait_gone([server], 10)
    wait_until(lambda: not is_served(number), 10, "the display is gone")


PROJECT = """
import os
import subprocess

from celery.signals import worker_process_init
from src.display import Display

display = None


@worker_process_init.connect
def begin(**_):
    global display
    display = Display(agent_message["config_screen"])
    with open(agent_message["folder"] + f"/{os.getpid()}.new", "w") as file:
        file.write(display.display)
    os.rename(file.name, file.name.removesuffix(".new"))


@app.task(name="tasks.consume_message", acks_late=True, queue=agent_message["run_id"])
def consume_message(job_message):
    terminal = subprocess.Popen(["xterm", "-bg", job_message["colour"], "-geometry", "60x20+0+0", "-e", "sleep", "600"])
    picture = os.path.join(agent_message["folder"], "picture.png")
    while not os.path.exists(agent_message["folder"] + "/enough"):
        display.screenshot(picture + ".new")
        os.rename(picture + ".new", picture)
    terminal.kill()
    terminal.wait()
"""


class TestInARun:
    @pytest.fixture
    def project_code(self) -> str:
        return PROJECT

    @pytest.fixture
    def screens(self, run: Run, tmp_path: Path, ours: None) -> Path:
        """A folder with the display of each worker by its pid."""
        folder = tmp_path / "screens"
        folder.mkdir()
        run.project.define(config_screen={"screen_width": 640, "screen_height": 480}, folder=str(folder))
        return folder

    def displays(self, screens: Path, number: int) -> dict[int, int]:
        """The servers of so many workers, by the workers."""

        def found() -> dict[int, int]:
            files = [file for file in screens.iterdir() if file.name.isdigit()]
            return {int(file.name): server_of(file.read_text()) for file in files} if len(files) >= number else {}

        return wait_until(found, 30, f"{number} workers have their display")

    def test_a_jobs_program_is_seen(self, run: Run, screens: Path) -> None:
        agent = run.agent()
        run.project.dispatch({"colour": hexadecimal(GREEN)})
        picture = screens / "picture.png"

        def seen() -> bool:
            return picture.exists() and Picture.of(picture.read_bytes()).colour(200, 150) == GREEN

        wait_until(seen, 30, "the terminal is seen")
        (screens / "enough").touch()
        run.wait_empty()
        servers = self.displays(screens, 1)
        agent.process.send(signal.SIGTERM)
        assert agent.process.wait(30) == 0
        assert not any(map(is_alive, servers.values()))
        # What is quiet when all is well.
        assert "screen" not in agent.output()

    def test_it_ends_with_its_worker(self, run: Run, screens: Path) -> None:
        run.agent(concurrency=2)
        servers = self.displays(screens, 2)
        (killed, gone), (_, stays) = servers.items()
        assert gone != stays
        os.kill(killed, signal.SIGKILL)
        wait_gone([gone], 10)
        assert is_alive(stays)
        # The worker that takes the place of the other one has one, too.
        assert len(self.displays(screens, 3)) == 3

    def test_it_ends_with_the_agent(self, run: Run, screens: Path) -> None:
        agent = run.agent(concurrency=2)
        servers = self.displays(screens, 2)
        agent.process.kill()
        wait_gone(list(servers.values()), 10)
