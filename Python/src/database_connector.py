"""As documented projects import it."""

from armada_agent.sdk.database import DatabaseConnector

__all__ = ["DatabaseConnector"]
