"""As documented projects import it."""

from armada_agent.sdk.output import StandardOutput

__all__ = ["StandardOutput"]
