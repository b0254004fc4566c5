"""The table and the plot."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path

from armada_testing import REPOSITORY

from .measures import MEASURES, Measure

Samples = Mapping[str, Mapping[str, Sequence[float]]]
"""Side → measure's key → one value per round."""


def machine() -> str:
    """Processor, cores, memory, system and load, as far as they bear on the figures."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")), "?")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, "
        f"load average at the start {os.getloadavg()[0]:.2f}"
    )


def versions() -> str:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.strip()
    packages = ", ".join(f"{name} {version(name)}" for name in ("celery", "kombu", "amqp", "billiard"))
    broker = subprocess.run(
        ["dpkg-query", "-W", "-f", "RabbitMQ ${Version}", "rabbitmq-server"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return f"armada-agent {commit or '?'}, {packages}, Python {platform.python_version()}, {broker or 'RabbitMQ'}"


def medians(samples: Samples) -> dict[str, dict[str, float]]:
    return {
        side: {key: statistics.median(values) for key, values in measured.items() if values}
        for side, measured in samples.items()
    }


def _row(measure: Measure, celery: float | None, agent: float | None) -> str:
    cells = [measure.title, *(measure.format(value) if value is not None else "–" for value in (celery, agent))]
    if celery and agent is not None:
        ratio = agent / celery
        verdict = "" if measure.target is None else ("reached" if measure.reached(celery, agent) else "missed")
        cells += ["" if measure.absolute else f"{ratio:.2f}", measure.format_target(), verdict]
    else:
        cells += ["–", measure.format_target(), ""]
    return "| " + " | ".join([*cells, measure.reference]) + " |"


def table(samples: Samples) -> str:
    middle = medians(samples)
    celery, agent = middle.get("celery", {}), middle.get("agent", {})
    lines = [
        "| measure (concurrency × prefetch) | celery worker | armada-agent | ratio | target | | Celery, reference |",
        "|---|--:|--:|--:|--:|---|--:|",
    ]
    lines += [
        _row(measure, celery.get(measure.key), agent.get(measure.key))
        for measure in MEASURES
        if measure.key in celery or measure.key in agent
    ]
    return "\n".join(lines)


def results(samples: Samples, rounds: int, jobs: int, etas: int, where: str, note: str) -> str:
    """The text of RESULTS.md."""
    return "\n".join(
        [
            "# armada-agent beside a stock `celery worker`",
            "",
            f"Command: `{' '.join(['scripts/bench', *sys.argv[1:]])}`",
            "",
            f"Machine: {where}.",
            "",
            f"Versions: {versions()}.",
            "",
            f"Medians of {rounds} round{'s' if rounds != 1 else ''}; in each round both sides, one after the other, "
            f"with the same broker, the same code and {jobs:,} jobs for each rate. A job does nothing; `acks_late`; no "
            "result backend; with events, nobody listens to them. "
            f"Jobs with an `eta`: {etas:,}, measured once. What counts is the ratio: the reference figures are "
            "another, quiet machine's, with Celery 5.6.2.",
            *(["", note] if note else []),
            "",
            table(samples),
            "",
            "![the same as bars](results.svg)",
            "",
        ]
    )


_ROW, _BAR, _LEFT, _WIDTH, _TOP = 46, 16, 290, 420, 62
_COLOURS = {"celery": "#8a8f98", "agent": "#e8590c"}


def _text(x: float, y: float, content: str, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {extra}>{escape(content)}</text>'


def _bars(measure: Measure, values: dict[str, float], top: float) -> list[str]:
    """Two bars in the measure's own scale, and a mark where the target is."""
    goal = None
    if measure.target is not None and (measure.absolute or "celery" in values):
        goal = measure.target * (1 if measure.absolute else values["celery"])
    # A cost that is less than none is the machine's noise.
    longest = max([*values.values(), goal or 0.0]) or 1.0
    parts = [_text(_LEFT - 12, top + _BAR + 5, measure.title.replace("`", ""), 'text-anchor="end"')]
    for index, side in enumerate(side for side in ("celery", "agent") if side in values):
        y = top + index * (_BAR + 2)
        width = max(values[side] / longest * _WIDTH, 1)
        parts.append(f'<rect x="{_LEFT}" y="{y:.1f}" width="{width:.1f}" height="{_BAR}" fill="{_COLOURS[side]}"/>')
        label = measure.format(values[side])
        if side == "agent" and values.get("celery"):
            label += f"  (× {values[side] / values['celery']:.2f})"
        mark = goal / longest * _WIDTH if goal is not None else 0.0
        # The label starts behind the mark where it would otherwise be crossed by it.
        beside = mark if width - 2 <= mark <= width + 130 else width
        parts.append(_text(_LEFT + beside + 6, y + 12.5, label, 'class="value"'))
    if goal is not None:
        x = _LEFT + goal / longest * _WIDTH
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 3:.1f}" y2="{top + 2 * _BAR + 5:.1f}" class="goal"/>')
    return parts


def plot(samples: Samples, where: str) -> str:
    """An SVG with a pair of bars for each measure."""
    middle = medians(samples)
    shown = [measure for measure in MEASURES if any(measure.key in middle.get(side, {}) for side in _COLOURS)]
    height = _TOP + len(shown) * _ROW + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="880" height="{height}" viewBox="0 0 880 {height}" '
        'font-family="system-ui, DejaVu Sans, sans-serif" font-size="13" fill="#222">',
        "<style>.value{font-size:12px} .goal{stroke:#2b8a3e;stroke-width:2;stroke-dasharray:4 2}</style>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<rect x="20" y="14" width="14" height="14" fill="{_COLOURS["celery"]}"/>',
        _text(40, 26, "celery worker"),
        f'<rect x="150" y="14" width="14" height="14" fill="{_COLOURS["agent"]}"/>',
        _text(170, 26, "armada-agent"),
        '<line x1="290" x2="290" y1="12" y2="30" class="goal"/>',
        _text(298, 26, "target"),
        _text(20, 46, where, 'font-size="10" fill="#666"'),
    ]
    for index, measure in enumerate(shown):
        values = {side: middle[side][measure.key] for side in _COLOURS if measure.key in middle.get(side, {})}
        parts += _bars(measure, values, _TOP + index * _ROW)
    return "\n".join([*parts, "</svg>", ""])
