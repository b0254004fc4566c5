"""The example of the database, as its reader runs it."""

from __future__ import annotations

import os
import subprocess
import sys

from armada_testing import REPOSITORY
from armada_testing.tds import SQLServer

EXPECTED = """\
inserted [(1,)]
inserted [(2,)]
inserted [(3,)]
[('Αθήνα', Decimal('12.50'), datetime.date(2024, 2, 29)), ('東京', Decimal('0.05'), datetime.date(2024, 2, 29))]
[[(0,)], [(1,)], [(2,)], [(3,)]]
[('{"visits": 3, "best": "東京"}',)]
Invalid column name 'name'. (SQL Server error 207, state 1, line 1)
"""


def test_the_example_runs() -> None:
    with SQLServer() as server:
        environment = {**os.environ, **server.environment, "PYTHONPATH": str(REPOSITORY / "Python")}
        ran = subprocess.run(
            [sys.executable, str(REPOSITORY / "examples" / "database" / "visits.py")],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (ran.stdout, ran.stderr) == (EXPECTED, "")
