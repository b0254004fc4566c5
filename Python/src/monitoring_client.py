"""As documented projects import it."""

from armada_agent.sdk.monitoring import MonitoringClient

__all__ = ["MonitoringClient"]
