"""Makes one Python string of a project folder, as the platform does before a run: `python bundle.py > code.py`.

The modules are put one after the other into one namespace, so a later one uses the names of an earlier one without
importing them.
"""

from __future__ import annotations

import sys
from pathlib import Path

MODULES = ("agent_context", "job_context", "script", "main")


def bundle(folder: Path) -> str:
    """The project's code, each module under a comment with its name."""
    parts = []
    for module in MODULES:
        source = (folder / "project" / f"{module}.py").read_text()
        parts.append(f"# --- {module}.py ---\n{source.rstrip()}\n")
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(bundle(Path(__file__).parent))
