"""As documented projects import it."""

from armada_agent.sdk.proxy import ProxyManager

__all__ = ["ProxyManager"]
