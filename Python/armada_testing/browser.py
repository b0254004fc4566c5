"""A real browser, Chromium without a window, driven by the W3C's WebDriver protocol."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from .processes import NotReady, Process, free_port, port_answers, private_directory, uninterrupted, wait_until

# Under this name a reference to an element travels (WebDriver, section 11.1).
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """`with Browser(log=…) as browser:` starts it. Of the elements that a CSS selector names, the first one counts.

    Args:
        log: of its driver.
        proxy: the URL of one that all requests go through, those to loopback, too.
        trusted: an authority's certificate (PEM) to trust beside those that it knows.
    """

    def __init__(self, *, log: Path, proxy: str | None = None, trusted: Path | None = None) -> None:
        self._log = log
        self._proxy = proxy
        self._trusted = trusted
        self._session = ""
        self._resources = contextlib.ExitStack()

    @staticmethod
    def is_installed() -> bool:
        return all(shutil.which(program) for program in ("chromium", "chromedriver"))

    def __enter__(self) -> Browser:
        if not self.is_installed():
            raise NotReady("no Chromium: run scripts/setup or `apt install chromium chromium-driver`")
        with contextlib.ExitStack() as resources:
            home = resources.enter_context(private_directory("browser"))
            port = free_port()
            self._url = f"http://127.0.0.1:{port}"
            environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(home), "LANG": "C.UTF-8"}
            driver = Process(["chromedriver", f"--port={port}"], self._log, environment, cwd=home)
            resources.enter_context(driver)
            driver.wait_ready(lambda: port_answers(port), 30, "chromedriver listens")
            options = {
                "binary": shutil.which("chromium"),
                "args": [
                    "--headless=new",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--no-first-run",
                    "--window-size=1280,1000",
                    f"--user-data-dir={home / 'profile'}",
                    *([f"--proxy-server={self._proxy}", "--proxy-bypass-list=<-loopback>"] if self._proxy else []),
                    *([f"--ignore-certificate-errors-spki-list={key_hash(self._trusted)}"] if self._trusted else []),
                    # Chromium's sandbox refuses root, as which containers run tests.
                    *(["--no-sandbox"] if os.geteuid() == 0 else []),
                ],
            }
            capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
            answer = self._call("POST", "/session", {"capabilities": capabilities})
            self._session = f"/session/{answer['sessionId']}"
            resources.callback(self._end)
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with uninterrupted():
            self._resources.close()

    def _end(self) -> None:
        # A browser that has crashed can't be closed, and is killed with its driver.
        with contextlib.suppress(NotReady, OSError):
            self._call("DELETE", self._session)

    def open(self, url: str) -> None:
        self._call("POST", f"{self._session}/url", {"url": url})

    def text(self, selector: str) -> str:
        """The text that is seen of an element, empty where there is none."""
        element = self._find(selector)
        if element is None:
            return ""
        text: str = self._call("GET", f"{self._session}/element/{element}/text")
        return text

    def click(self, selector: str) -> None:
        """Clicks an element as a person does: it has to be in sight, and nothing before it."""
        element = self._find(selector)
        if element is None:
            raise NotReady(f"the page has no {selector}")
        self._call("POST", f"{self._session}/element/{element}/click", {})

    def wait_text(self, selector: str, *expected: str, seconds: float = 30) -> str:
        """Until an element shows all of these texts; all that it shows."""

        def shown() -> str | None:
            text = self.text(selector)
            return text if text and all(part in text for part in expected) else None

        try:
            return wait_until(shown, seconds, f"{selector} shows {expected}", interval=0.2)
        except NotReady as error:
            raise NotReady(f"{error}; it shows {self.text(selector)!r}") from None

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("GET", f"{self._session}/screenshot")))

    def _find(self, selector: str) -> str | None:
        found = self._call("POST", f"{self._session}/elements", {"using": "css selector", "value": selector})
        return found[0][ELEMENT] if found else None

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise NotReady(f"{method} {path}: {error.read().decode(errors='replace')[:500]}") from None


def key_hash(certificate: Path) -> str:
    """The SHA-256 of a certificate's public key, by which Chromium is told to trust what it has signed."""
    key = subprocess.run(
        ["openssl", "x509", "-in", certificate, "-pubkey", "-noout"], check=True, capture_output=True
    ).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], check=True, capture_output=True, input=key)
    return base64.b64encode(hashlib.sha256(der.stdout).digest()).decode()
