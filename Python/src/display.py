"""The display, beside the modules that documented projects import from here."""

from armada_agent.sdk.display import Display

__all__ = ["Display"]
