"""What is measured: names, units, targets, and the issue's reference figures for Celery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """`target` bounds the ratio ours / Celery's, or our own value if `absolute`; `better` says from which side.

    `reference` is a text for the table.
    """

    key: str
    title: str
    unit: Literal["s", "ms", "µs", "MiB", "KiB", "1/s", "1", "%"]
    better: Literal["less", "more"]
    target: float | None
    reference: str = ""
    absolute: bool = False

    def format(self, value: float) -> str:
        """A value of the base unit (s, bytes, 1/s, share of one core) for reading."""
        match self.unit:
            case "s":
                return f"{value:.2f} s"
            case "ms":
                return f"{value * 1e3:.2f} ms"
            case "µs":
                return f"{value * 1e6:.0f} µs"
            case "MiB":
                return f"{value / 2**20:.1f} MiB"
            case "KiB":
                return f"{value / 2**10:.2f} KiB"
            case "1/s" | "1":
                return f"{value:,.0f}"
            case "%":
                return f"{value * 100:.3f} %"

    def format_target(self) -> str:
        if self.target is None:
            return ""
        target = self.format(self.target) if self.absolute else f"{self.target:g}"
        return f"{'≤' if self.better == 'less' else '≥'} {target}"

    def reached(self, celery: float, agent: float) -> bool:
        found = agent if self.absolute else agent / celery
        return self.target is None or (found <= self.target if self.better == "less" else found >= self.target)


@dataclass(frozen=True)
class Load:
    """One setting of the throughput measurement."""

    concurrency: int
    prefetch: int
    events: bool = False

    @property
    def label(self) -> str:
        return f"{self.concurrency} × {self.prefetch}{', events' if self.events else ''}"


LOADS = (Load(1, 1), Load(1, 4), Load(2, 4), Load(1, 4, events=True), Load(2, 4, events=True))

_RATE = {(1, 1): (4.0, "1,500"), (1, 4): (7.0, "2,080"), (2, 4): (7.0, "2,130")}
_CPU = {(1, 1): (0.2, "417 µs"), (1, 4): (0.2, "340 µs"), (2, 4): (0.2, "330 µs")}
_MEMORY = {(2, 4): (0.75, "83 MiB")}
EVENTS_COST = "events' cost"


def _load_measures(load: Load) -> list[Measure]:
    setting = (load.concurrency, load.prefetch)
    if load.events:
        title = f"events' share of jobs/s ({load.concurrency} × {load.prefetch})"
        return [
            Measure(f"jobs/s {load.label}", f"jobs/s ({load.label})", "1/s", "more", None),
            Measure(f"{EVENTS_COST} {load.label}", title, "%", "less", 0.1, absolute=True),
        ]
    rate, rate_reference = _RATE.get(setting, (None, ""))
    cpu, cpu_reference = _CPU.get(setting, (None, ""))
    measures = [
        Measure(f"jobs/s {load.label}", f"jobs/s ({load.label})", "1/s", "more", rate, rate_reference),
        Measure(f"CPU per job {load.label}", f"CPU per job ({load.label})", "µs", "less", cpu, cpu_reference),
        Measure(f"of it in the parent {load.label}", f"… of it in the parent ({load.label})", "µs", "less", None),
    ]
    if setting in _MEMORY:
        memory, memory_reference = _MEMORY[setting]
        title = f"memory, PSS of the tree ({load.label})"
        measures.append(Measure(f"memory {load.label}", title, "MiB", "less", memory, memory_reference))
    return measures


MEASURES = (
    Measure("start to first job", "start to first job", "s", "less", 0.25, "1.6 s"),
    *(measure for load in LOADS for measure in _load_measures(load)),
    Measure("memory (PSS)", "memory, PSS of the tree", "MiB", "less", 0.75, "60 MiB"),
    Measure("held", "jobs with an `eta` held after two minutes, or all", "1", "more", None),
    Measure("holding", "of them taken on per second", "1/s", "more", None),
    Measure("holding, CPU", "CPU for each of them", "µs", "less", None),
    Measure("holding, memory", "memory for each of them", "KiB", "less", None),
    Measure("idle stop", "stop when idle", "s", "less", 0.1, "3.1 s"),
    Measure("latency p50", "`send_task` to the job, p50", "ms", "less", 0.6, "0.9 ms"),
    Measure("idle CPU", "CPU when idle, of one core", "%", "less", 1.0),
)
