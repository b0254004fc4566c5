"""What the agent has mitmdump load (`-s`): puts the add-on there."""

from __future__ import annotations

import sys
from pathlib import Path

_here = Path(__file__).resolve().parent
# mitmdump puts a script's folder first on the search path and leaves it there. The names of the modules beside this one
# must not stand before those of the user's.
sys.path[:] = [folder for folder in sys.path if folder != str(_here)]
sys.path.append(str(_here.parents[1]))

from armada_agent.proxy.addon import Addon  # noqa: E402
from armada_agent.proxy.channel import Channel  # noqa: E402

addons = [Addon(Channel())]
