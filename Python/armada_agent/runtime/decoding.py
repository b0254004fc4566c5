"""Decoding a message's body as `kombu.serialization.loads` does, with less on the way to the JSON decoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

JSON = "application/json"

# A text without these holds no object that kombu's hook would change: its key may be written with an escape, too.
MARKER = "__type__"
ESCAPE = "\\u00"

Decoder = Callable[[memoryview, str | None, str | None], Any]


def body_decoder(accept: Any) -> Decoder:
    """A function that decodes a body of a content type and encoding, of the types in `accept`.

    For JSON it enters kombu's decoder where kombu arrives after three functions, a context manager and the making of a
    `JSONDecoder`. Whatever is out of the ordinary, an error above all, is left to kombu as a whole.
    """
    from kombu.serialization import loads, registry
    from kombu.utils import json as kombu_json

    def decode(data: memoryview, content_type: str | None, content_encoding: str | None) -> Any:
        return loads(bytes(data), content_type, content_encoding, accept=accept)

    if kombu_json.loads.__defaults__ != (json.loads, True, kombu_json.object_hook) or JSON not in (accept or ()):
        return decode
    registered = registry._decoders
    decoder = kombu_json.loads
    plain: Any = json.JSONDecoder()
    hooked: Any = json.JSONDecoder(object_hook=kombu_json.object_hook)
    scan, scan_with_hook = plain.scan_once, hooked.scan_once

    def decode_json(data: memoryview, content_type: str | None, content_encoding: str | None) -> Any:
        if content_type == JSON and registered.get(JSON) is decoder:
            try:
                text = str(data, "utf-8")
                simple = MARKER not in text and ESCAPE not in text
                value, end = (scan if simple else scan_with_hook)(text, 0)
                if end == len(text):
                    return value
            except Exception:
                pass
        return decode(data, content_type, content_encoding)

    return decode_json
