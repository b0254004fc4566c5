"""Importing modules while the worker runs, for the control command `pool_restart`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def import_modules(app: Any, request: dict[str, Any]) -> None:
    """Import `modules`, or those that hold the project's tasks; with `reload`, also those that are imported already.

    As `celery.worker.WorkController.reload` does.
    """
    modules = request.get("modules")
    for name in dict.fromkeys(app.loader.task_modules if modules is None else modules):
        module = sys.modules.get(name)
        if module is None:
            app.loader.import_from_cwd(name)
        elif request.get("reload"):
            from celery.utils.imports import reload_from_cwd

            with unregistered(app, name):
                reload_from_cwd(module)


@contextmanager
def unregistered(app: Any, module: str) -> Iterator[None]:
    """Forget the tasks of a module while it is executed anew: Celery keeps what it has under a name, the old code."""
    tasks = app._tasks
    old = {name: task for name, task in tasks.items() if type(task).__module__ == module}
    for name in old:
        del tasks[name]
    try:
        yield
    finally:
        # What the module has not registered anew stays: a module that makes an app of its own makes a new one.
        for name, task in old.items():
            tasks.setdefault(name, task)
