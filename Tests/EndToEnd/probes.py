"""What an agent answers over HTTP (`AGENT_HTTP_PORT`)."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from armada_testing.agent import agent_binary
from armada_testing.processes import free_port


class Probes:
    """What one agent answers."""

    def __init__(self) -> None:
        self.port = free_port()
        self.environment = {"AGENT_HTTP_PORT": str(self.port), "AGENT_HTTP_HOST": "127.0.0.1"}

    def get(self, path: str) -> tuple[int, str]:
        """The status, 0 where nobody listens, and the body."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def status(self, name: str) -> int:
        return self.get(f"/{name}")[0]

    def reasons(self, name: str) -> list[str]:
        reasons: list[str] = json.loads(self.get(f"/{name}")[1])["reasons"]
        return reasons

    def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        """By the sample's name, then by its labels' values; read by Prometheus's own parser."""
        status, text = self.get("/metrics")
        assert status == 200
        samples: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
        return samples

    def command(self, *arguments: str) -> tuple[int, str]:
        """`armada-agent probe`, as an exec probe runs it."""
        result = subprocess.run(
            [str(agent_binary()), "probe", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        return result.returncode, result.stdout + result.stderr
