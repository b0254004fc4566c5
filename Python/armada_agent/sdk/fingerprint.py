"""Fingerprints from the provider that `FINGERPRINT_PROVIDER_URL` names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ._configuration import Configuration, json_members
from ._connection import call, call_async

__all__ = ["FingerprintManager"]


class FingerprintManager:
    """A plain client of the fingerprint provider: nothing that it carries is interpreted.

    Args:
        config: the provider's configuration (`config_fingerprint` of the agent message), a dictionary or the path of a
            JSON file, which is read now.

    Raises:
        OSError, ValueError, TypeError: the file can't be read, or is not a JSON object.
    """

    def __init__(self, config: Configuration) -> None:
        self.config = config
        self._members = json_members(config)

    def get_fingerprint(self, additional_data: Mapping[str, Any] | None = None) -> str:
        """Ask for a fingerprint, and return the answer's text.

        Args:
            additional_data: sent together with the configuration; where names are equal, it has precedence.

        Raises:
            ModuleError: a `RuntimeError` with `kind` `timeout`, `network`, `status` (`details` has `status` and `body`)
                or `answer` for one that is empty or too large.
            AgentUnavailable: no agent serves this process.
        """
        return _text(call("fingerprint.get", body=self._body(additional_data)))

    async def get_fingerprint_async(self, additional_data: Mapping[str, Any] | None = None) -> str:
        """As `get_fingerprint`, from asyncio."""
        return _text(await call_async("fingerprint.get", body=self._body(additional_data)))

    def _body(self, additional_data: Mapping[str, Any] | None) -> str:
        if isinstance(self.config, Mapping):
            # What was changed in the dictionary since counts, too.
            self._members = json_members(self.config)
        members = {**self._members, **(json_members(additional_data) if additional_data else {})}
        return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in members.items()) + "}"


def _text(answer: dict[str, Any]) -> str:
    body: bytes = answer["body"]
    charset = (answer["content_type"] or "").lower().partition("charset=")[2].partition(";")[0].strip(" \"'")
    try:
        return body.decode(charset or "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")
