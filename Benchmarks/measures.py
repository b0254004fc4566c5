"""What is measured: names, units, targets, and the issue's reference figures for Celery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """`target` bounds the ratio ours / Celery's; `better` says from which side. `reference` is a text for the table."""

    key: str
    title: str
    unit: Literal["s", "ms", "µs", "MiB", "1/s", "%"]
    better: Literal["less", "more"]
    target: float | None
    reference: str = ""

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
            case "1/s":
                return f"{value:,.0f}"
            case "%":
                return f"{value * 100:.3f} %"

    def format_target(self) -> str:
        if self.target is None:
            return ""
        return f"{'≤' if self.better == 'less' else '≥'} {self.target:g}"

    def reached(self, ratio: float) -> bool:
        return self.target is None or (ratio <= self.target if self.better == "less" else ratio >= self.target)


@dataclass(frozen=True)
class Load:
    """One setting of the throughput measurement."""

    concurrency: int
    prefetch: int

    @property
    def label(self) -> str:
        return f"{self.concurrency} × {self.prefetch}"


LOADS = (Load(1, 1), Load(1, 4), Load(2, 4))

_RATE = {(1, 1): (4.0, "1,500"), (1, 4): (7.0, "2,080")}
_CPU = {(1, 1): (0.2, "417 µs"), (1, 4): (0.2, "340 µs")}


def _load_measures(load: Load) -> list[Measure]:
    rate, rate_reference = _RATE.get((load.concurrency, load.prefetch), (None, ""))
    cpu, cpu_reference = _CPU.get((load.concurrency, load.prefetch), (None, ""))
    return [
        Measure(f"jobs/s {load.label}", f"jobs/s ({load.label})", "1/s", "more", rate, rate_reference),
        Measure(f"CPU per job {load.label}", f"CPU per job ({load.label})", "µs", "less", cpu, cpu_reference),
        Measure(f"of it in the parent {load.label}", f"… of it in the parent ({load.label})", "µs", "less", None),
    ]


MEASURES = (
    Measure("start to first job", "start to first job", "s", "less", 0.25, "1.6 s"),
    *(measure for load in LOADS for measure in _load_measures(load)),
    Measure("memory (PSS)", "memory, PSS of the tree", "MiB", "less", 0.75, "60 MiB"),
    Measure("idle stop", "stop when idle", "s", "less", 0.1, "3.1 s"),
    Measure("latency p50", "`send_task` to the job, p50", "ms", "less", 0.6, "0.9 ms"),
    Measure("idle CPU", "CPU when idle, of one core", "%", "less", 1.0),
)
