"""What an agent offers to the code that it runs. Importable under `src.*` too, as the documented projects do."""

from ._errors import AgentUnavailable, ModuleError

__all__ = ["AgentUnavailable", "ModuleError"]
