"""The command line of scripts/compat."""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import shutil
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..agent import Kind, agent_command
from ..processes import NotReady, private_directory, report, signals_as_exit
from ..rabbitmq import RabbitMQ
from ..redis_server import Redis
from .differences import Difference, unused
from .normal import Found, compare
from .recording import DEAD, DEAD_LETTERED
from .session import Session, host_name
from .table import TABLE, Scenario, Setting, chosen

SIDES = ("celery", "agent")


@dataclass(frozen=True)
class Servers:
    """Inherited by the processes that run the settings."""

    broker: RabbitMQ
    store: Redis
    home: Path


_servers: Servers | None = None


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/compat",
        description="Runs a table of scenarios with `celery worker` and with armada-agent, and shows what differs.",
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a scenario or a setting; * stands for any text"
    )
    parser.add_argument("--list", action="store_true", help="only list settings and scenarios")
    parser.add_argument(
        "--against", choices=SIDES, default="agent", help="celery: stock against stock, tests the table"
    )
    parser.add_argument("--jobs", type=int, default=3, help="settings that run at the same time (3)")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="keep logs and observations there")
    parser.add_argument("--all", action="store_true", help="show the listed differences, too")
    return parser.parse_args(arguments)


def observe(setting: Setting, scenarios: Sequence[Scenario], kind: Kind, database: int, suffix: str) -> dict[str, Any]:
    """One worker's run through the scenarios of a setting: what was observed in each, or why it could not be."""
    assert _servers is not None
    observed: dict[str, Any] = {}
    home = _servers.home / f"{setting.name.replace(' ', '-')}-{kind}{suffix}"
    with contextlib.ExitStack() as resources:
        try:
            session = Session(setting, kind, _servers.broker, _servers.store, database, home, suffix)
            resources.enter_context(session)
            session.start()
            if setting.described:
                observed[f"start: {setting.name}"] = session.describe()
        except Exception as error:
            return {each.name: {"failed": reason(error)} for each in scenarios}
        for each in scenarios:
            try:
                if not session.worker.running:
                    session.restart()
                observed[each.name] = session.perform(each)
            except Exception as error:
                observed[each.name] = {"failed": reason(error)}
                with contextlib.suppress(Exception):
                    session.worker.process.kill()
    return observed


def reason(error: Exception) -> str:
    """Why a scenario could not be finished."""
    return str(error) if isinstance(error, NotReady) else "".join(traceback.format_exception(error))


def again(against: Kind) -> str:
    """What tells the second side from the first, when both are Celery's."""
    return "-again" if against == "celery" else ""


def run(names: Sequence[str], number: int, against: Kind) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Both sides of one setting, of which these are the scenarios."""
    begun = time.monotonic()
    scenarios = [each for each in TABLE if each.name in names]
    setting = scenarios[0].setting
    with signals_as_exit():
        stock = observe(setting, scenarios, "celery", 2 * number, "")
        own = observe(setting, scenarios, against, 2 * number + 1, again(against))
    return stock, own, time.monotonic() - begun


def judge(name: str, stock: Any, own: Any, used: set[Difference], show_listed: bool) -> bool:
    """Prints one scenario's line, and its differences; whether there are none that are not listed."""
    from .differences import LISTED

    found = compare(stock, own)
    listed: list[tuple[Found, Difference]] = []
    unlisted: list[Found] = []
    for each in found:
        known = next((difference for difference in LISTED if difference.covers(name, each)), None)
        if known is None:
            unlisted.append(each)
        else:
            used.add(known)
            listed.append((each, known))
    failed = [
        f"  failed on {side}: {value['failed']}"
        for side, value in (("celery", stock), ("ours", own))
        if "failed" in value
    ]
    passed = not unlisted and not failed
    note = f" ({len(listed)} listed)" if listed else ""
    print(f"{'same' if passed else 'DIFFERS':8} {name}{note}", flush=True)
    for line in failed:
        print(line)
    for each in unlisted if not failed else ():
        print("\n".join(each.lines()))
    if show_listed:
        for each, known in listed:
            print("\n".join([*each.lines(), f"      {known.reason}"]))
    return passed


def compare_all(options: argparse.Namespace, scenarios: Sequence[Scenario]) -> bool:
    settings: dict[str, list[str]] = {}
    for each in scenarios:
        settings.setdefault(each.setting.name, []).append(each.name)
    longest_first = sorted(settings, key=lambda name: -len(settings[name]))
    used: set[Difference] = set()
    judged: list[str] = []
    good = True
    assert _servers is not None
    sides: list[tuple[Kind, str]] = [("celery", ""), (options.against, again(options.against))]
    names = [host_name(name, *side) for name in settings for side in sides]
    _servers.broker.add_virtual_hosts(names, DEAD, DEAD_LETTERED)
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(options.jobs, mp_context=context) as executor:
        runs = {
            executor.submit(run, settings[name], number, cast("Kind", options.against)): name
            for number, name in enumerate(longest_first)
        }
        for done in as_completed(runs):
            stock, own, seconds = done.result()
            print(f"-- {runs[done]} ({seconds:.0f} s)")
            for name in [*stock, *(name for name in own if name not in stock)]:
                judged.append(name)
                good &= judge(
                    name,
                    stock.get(name, {"failed": "not run"}),
                    own.get(name, {"failed": "not run"}),
                    used,
                    options.all,
                )
            if options.keep:
                for side, value in (("celery", stock), ("ours", own)):
                    path = options.keep / f"{runs[done].replace(' ', '-')}.{side}.json"
                    path.write_text(json.dumps(value, indent=1, ensure_ascii=False))
    if options.against == "agent" and not options.only:
        for difference in unused(used, judged):
            good = False
            print(f"UNUSED   {difference.scenario}: {difference.path}")
            print(f"    is listed, but did not occur: {difference.reason}")
    return good


def main(arguments: Sequence[str]) -> int:
    global _servers
    options = parse(arguments)
    scenarios = chosen(options.only)
    if not scenarios:
        report(f"compat: no scenario is named {', '.join(options.only)}; --list names them")
        return 64
    if options.list:
        for each in scenarios:
            print(f"{each.setting.name:24} {each.name:40} {each.about}")
        return 0
    begun = time.monotonic()
    with signals_as_exit(), private_directory("compat") as home:
        agent_command(cast("Kind", options.against))
        if options.keep:
            shutil.rmtree(options.keep, ignore_errors=True)
            options.keep.mkdir(parents=True)
        with RabbitMQ() as broker, Redis(["--databases", "512"]) as store:
            _servers = Servers(broker, store, options.keep or home)
            good = compare_all(options, scenarios)
    verdict = "no unlisted difference" if good else "DIFFERENT"
    print(f"compat: {len(scenarios)} scenarios, {verdict} ({time.monotonic() - begun:.0f} s)")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except NotReady as error:
        report(f"compat: {error}")
        sys.exit(69)
