"""A module's configuration as users give it: a dictionary, or the path of a JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Configuration = Mapping[str, Any] | str | os.PathLike[str]


def json_members(configuration: Configuration) -> dict[str, str]:
    """Each member's value as JSON text: of a file as it stands there, so that numbers keep their form."""
    if isinstance(configuration, Mapping):
        return {str(name): json.dumps(value, allow_nan=False) for name, value in configuration.items()}
    if not isinstance(configuration, (str, os.PathLike)):
        raise TypeError(
            f"configuration: found {type(configuration).__name__}, expected a dict or the path of a JSON file"
        )
    text = Path(configuration).read_text(encoding="utf-8")
    if not isinstance(json.loads(text), dict):
        raise ValueError(f"{configuration}: expected a JSON object")
    members: dict[str, str] = {}
    decoder = json.JSONDecoder()
    position = _skip(text, text.index("{") + 1, ",")
    while text[position] != "}":
        name, position = decoder.raw_decode(text, position)
        start = _skip(text, position, ":")
        _, position = decoder.raw_decode(text, start)
        members[name] = text[start:position]
        position = _skip(text, position, ",")
    return members


def _skip(text: str, position: int, separator: str) -> int:
    while text[position] in " \t\r\n" or text[position] == separator:
        position += 1
    return position
