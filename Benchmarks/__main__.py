"""`scripts/bench`: measures both sides in turn and writes RESULTS.md and results.svg."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import cast

from armada_testing import REPOSITORY
from armada_testing.agent import Kind, agent_command
from armada_testing.processes import NotReady, report, signals_as_exit
from armada_testing.rabbitmq import RabbitMQ
from armada_testing.redis_server import Redis

from .measure import Bench
from .measures import EVENTS_COST, LOADS
from .report import machine, plot, results, table


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures armada-agent beside `celery worker`.")
    parser.add_argument("--quick", action="store_true", help="one round, fewer jobs: shows that it works, not how fast")
    parser.add_argument("--rounds", type=int, help="rounds of both sides in turn (5; quick: 1)")
    parser.add_argument("--jobs", type=int, help="jobs for each rate (20000; quick: 3000)")
    parser.add_argument("--etas", type=int, help="jobs with an `eta` to be held (100000; quick: 2000; 0: none)")
    parser.add_argument("--sides", default="celery,agent", help="which to measure (celery,agent)")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "Benchmarks", help="folder of RESULTS.md")
    parser.add_argument("--samples", type=Path, help="write each single figure to this file, as JSON")
    parser.add_argument("--note", default="", help="a sentence for RESULTS.md, e.g. on what else the machine was doing")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.jobs = options.jobs or (3000 if options.quick else 20000)
    if options.etas is None:
        options.etas = 2000 if options.quick else 100_000
    options.sides = options.sides.split(",")
    if not options.sides or set(options.sides) - {"celery", "agent"}:
        parser.error("--sides takes celery, agent, or both with a comma")
    return options


def measure(options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    samples: dict[str, dict[str, list[float]]] = {side: defaultdict(list) for side in options.sides}
    with signals_as_exit(), RabbitMQ() as broker, Redis() as store:
        bench = Bench(broker, store)
        for round_number in range(options.rounds):
            for side in cast("list[Kind]", options.sides):
                report(f"round {round_number + 1} of {options.rounds}, {side}: one agent's life …")
                life = bench.life(side, 100 if options.quick else 300, 3 if options.quick else 10)
                for key, value in life.items():
                    samples[side][key].append(value)
            for load in LOADS:
                for side in cast("list[Kind]", options.sides):
                    report(f"round {round_number + 1} of {options.rounds}, {side}: jobs/s at {load.label} …")
                    rates = bench.throughput(side, load, options.jobs)
                    for key, value in rates.items():
                        samples[side][f"{key} {load.label}"].append(value)
        for side in cast("list[Kind]", options.sides if options.etas else []):
            report(f"{side}: {options.etas} jobs with an eta …")
            for key, value in bench.holding(side, options.etas).items():
                samples[side][key].append(value)
    for measured in samples.values():
        add_costs(measured)
    return samples


def add_costs(measured: dict[str, list[float]]) -> None:
    """What part of the jobs/s without events is lost with them."""
    for load in LOADS:
        with_events = measured.get(f"jobs/s {load.label}", [])
        without = measured.get(f"jobs/s {replace(load, events=False).label}", [])
        if load.events and with_events and without:
            cost = 1 - statistics.median(with_events) / statistics.median(without)
            measured[f"{EVENTS_COST} {load.label}"] = [cost]


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        for side in options.sides:
            agent_command(side)
        where = machine()
        samples = measure(options)
    except (NotReady, RuntimeError) as error:
        report(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    (output / "RESULTS.md").write_text(
        results(samples, options.rounds, options.jobs, options.etas, where, options.note)
    )
    (output / "results.svg").write_text(plot(samples, where))
    if options.samples is not None:
        options.samples.write_text(json.dumps(samples, indent=1) + "\n")
    print(table(samples))
    report(f"written: {output / 'RESULTS.md'} and results.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
