"""Loading the project of `armada-agent worker -A MODULE` as `celery worker` would load it.

The sources are `celery/bin/celery.py`, `celery/bin/worker.py`, `celery/apps/worker.py` and `celery/worker/worker.py`;
the order of the steps is theirs, since receivers of the signals see it.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any

from .errors import LoadError
from .output import TextStream
from .standins import WorkerStandIn


def find(request: dict[str, Any]) -> Any:
    """The app that `-A` names; without it the default one, configured by a `celeryconfig` module."""
    # A program that is given with -c finds modules in whatever folder is the current one; the project's is meant.
    folder = os.getcwd()
    sys.path[:] = [folder, *(path for path in sys.path if path not in ("", folder))]
    # Projects look here to tell a worker from a web server.
    sys.argv = ["celery", *(request.get("argv") or ["worker"])]
    name = request.get("app")
    if not name:
        from celery._state import get_current_app

        return get_current_app()
    from celery.app.utils import find_app

    try:
        app = find_app(name)
    except ModuleNotFoundError as error:
        if wrong := not_found(name, str(error.name), folder):
            raise wrong from None
        raise
    except AttributeError as error:
        wrong = not_found(name, name, folder)
        if wrong and error.__traceback__ is not None and is_celerys(error.__traceback__):
            raise wrong from None
        raise
    if not all(hasattr(app, member) for member in ("conf", "amqp", "loader", "tasks")):
        raise LoadError("import_error", f"-A {name}: found a {type(app).__name__}, expected a Celery app")
    return app


def not_found(name: str, missing: str, folder: str) -> LoadError | None:
    """What is wrong with `-A`, if it is that: the project may miss a module of its own, too."""
    module, _, attribute = name.partition(":")
    if module in sys.modules and missing == name:
        found = f"no {attribute!r} in the module {module!r}" if attribute else f"no Celery app in the module {module!r}"
        return LoadError("import_error", f"-A {name}: found {found}, expected MODULE:APP, or a module with `app` in it")
    if not f"{module}.".startswith(f"{missing}."):
        return None
    return LoadError(
        "import_error",
        f"-A {name}: found no module {missing!r} in {folder} or on Python's path, expected MODULE[:APP]; "
        "--workdir names the folder to look in",
    )


def is_celerys(trace: TracebackType) -> bool:
    """Whether an exception was raised by Celery's or kombu's own search, not by the project's code."""
    while trace.tb_next is not None:
        trace = trace.tb_next
    module = str(trace.tb_frame.f_globals.get("__name__", ""))
    return module.split(".")[0] in ("celery", "kombu")


def read_arguments(app: Any, request: dict[str, Any], options: dict[str, Any]) -> None:
    """What is left of the command line when Celery's own options are taken: the project's, and settings such as
    `worker.soft_shutdown_timeout=3`."""
    # Celery's command reads settings while it parses, so the configuration is loaded by now.
    disable_prefetch = options.get("disable_prefetch")
    app.conf.worker_disable_prefetch = app.conf.worker_disable_prefetch if disable_prefetch is None else True
    arguments: list[str] = list(request.get("arguments") or ())
    preload = list(app.user_options.get("preload", ()))
    parameters = [*app.user_options.get("worker", ()), *preload]
    if parameters or any(argument.startswith("-") for argument in arguments):
        arguments = read_own_options(app, parameters, preload, arguments, options)
    for argument in arguments:
        try:
            app.config_from_cmdline([argument], namespace="worker")
        except (KeyError, ValueError) as error:
            raise LoadError(
                "usage",
                f"{argument}: found no setting of Celery's, or no value that fits it ({error}), "
                "expected NAMESPACE.SETTING=VALUE, such as worker.soft_shutdown_timeout=3",
            ) from None


def read_own_options(
    app: Any, parameters: list[Any], preload: list[Any], arguments: list[str], options: dict[str, Any]
) -> list[str]:
    """The project's options, which are click's as Celery has them; the arguments behind them."""
    import click
    from celery.signals import user_preload_options

    command = click.Command(
        "worker",
        params=parameters,
        context_settings={"allow_extra_args": True, "auto_envvar_prefix": "CELERY_WORKER", "help_option_names": []},
    )
    try:
        context = command.make_context("worker", arguments)
    except click.NoSuchOption as error:
        raise LoadError(
            "usage",
            f"{error.option_name}: found no such option, expected one that `armada-agent worker --help` lists, "
            "or that the project defines in app.user_options",
        ) from None
    except click.ClickException as error:
        raise LoadError("usage", error.format_message()) from None
    options.update(context.params)
    if preload:
        values = {option.name: context.params[option.name] for option in preload}
        user_preload_options.send(sender=command, app=app, options=values)
    return context.args


def check_privileges(app: Any) -> None:
    """Refuse to run as root what whoever reaches the broker could make execute anything."""
    from celery.exceptions import SecurityError
    from celery.platforms import check_privileges as check

    try:
        check(app.conf.accept_content)
    except SecurityError as error:
        text = " ".join(str(error).split())
        raise LoadError("invalid", f"accept_content: found pickle for a worker that is root: {text}") from None


def setup_logging(app: Any, worker: WorkerStandIn, colorize: bool | None) -> bool:
    """Configure Python's logging; whether the project has done so itself, by the signal `setup_logging`."""
    if worker.options.get("no_color"):
        colorize = False
    return bool(
        app.log.setup(
            worker.loglevel, worker.logfile, redirect_stdouts=False, colorize=colorize, hostname=worker.hostname
        )
    )


def on_start(app: Any, worker: WorkerStandIn, has_own_logging: bool, streams: list[TextStream]) -> None:
    """The last steps before the first connection."""
    from celery import platforms

    if not worker.quiet:
        print(banner(app, worker), flush=True)
    platforms.set_mp_process_title("celeryd", info=f"-active- ({' '.join(sys.argv)})", hostname=worker.hostname)
    for stream in streams:
        stream.finish_line()
    if not has_own_logging and app.conf.worker_redirect_stdouts:
        app.log.redirect_stdouts(app.conf.worker_redirect_stdouts_level)
    if str(app._config_source).lower() != "django.conf:settings":
        app.conf.maybe_warn_deprecated_settings()


def banner(app: Any, worker: WorkerStandIn) -> str:
    """What an operator wants to see first; nothing in it is secret."""
    import logging

    from celery import VERSION_BANNER
    from celery.utils.log import mlevel

    if worker.autoscale:
        maximum, minimum = worker.autoscale
        concurrency = f"{{min={minimum}, max={maximum}}}"
    else:
        concurrency = str(worker.concurrency)
    events = "ON" if worker.task_events else "OFF (enable -E to monitor tasks in this worker)"
    lines = [
        f"{worker.hostname} armada-agent, Celery {VERSION_BANNER}",
        "",
        "[config]",
        f".> app:         {app.main or '__main__'}",
        f".> transport:   {app.connection_for_read().as_uri()}",
        f".> results:     {app.backend.as_uri()}",
        f".> concurrency: {concurrency} ({worker.options.get('pool') or 'prefork'})",
        f".> task events: {events}",
        "",
        "[queues]",
        app.amqp.queues.format(indent=0, indent_first=False),
    ]
    level = mlevel(worker.loglevel) or logging.WARNING
    if level <= logging.INFO:
        shown = [name for name in sorted(app.tasks) if level <= logging.DEBUG or not name.startswith("celery.")]
        lines += ["", "[tasks]", *(f"  . {name}" for name in shown)]
    return "\n".join([*lines, ""])
