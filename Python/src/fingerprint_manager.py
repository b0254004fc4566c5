"""As documented projects import it."""

from armada_agent.sdk.fingerprint import FingerprintManager

__all__ = ["FingerprintManager"]
