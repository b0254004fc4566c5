"""What an agent offers to the code that it runs.

`monitoring`, `fingerprint`, `proxy`, `database`, `output`, `display` and `jobs` hold the classes; documented projects
find them under `src.*`, too. At a desk, where no agent runs, the first call starts `armada-agent modules`, which ends
with the process.
"""

from ._errors import AgentUnavailable, ModuleError

__all__ = ["AgentUnavailable", "ModuleError"]
