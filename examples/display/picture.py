"""A terminal on a screen that nobody sees, and a picture of it: `python picture.py screen.png`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from armada_agent.sdk.display import Display


def main(file: str) -> None:
    with Display({"screen_width": 800, "screen_height": 600}) as display, tempfile.TemporaryDirectory() as folder:
        print(f"a screen of {display.size} pixels: DISPLAY={os.environ['DISPLAY']}")
        empty = display.screenshot()
        written = Path(folder) / "written"
        # The terminal finds the screen in the environment, as any program does.
        script = f"echo Good morning.; touch {written}; exec sleep 600"
        with subprocess.Popen(["xterm", "-fa", "DejaVu Sans Mono", "-fs", "24", "-e", script]) as terminal:
            while not written.exists() or display.screenshot(file) == empty:
                time.sleep(0.1)
            terminal.terminate()
    print(f"{file}: {Path(file).stat().st_size} bytes; the screen is gone: {'DISPLAY' not in os.environ}")


if __name__ == "__main__":
    main(sys.argv[1])
