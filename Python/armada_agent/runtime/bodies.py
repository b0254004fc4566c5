"""Messages before they are jobs: of both protocols, compressed, of shapes that no client writes."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any


class Undecodable(Exception):
    """A message's body can't be decoded."""


class Malformed(Exception):
    """A message's body is of a shape that no Celery client writes."""


def decompressed(body: memoryview, compression: str) -> memoryview:
    """Undo compression, as kombu's `Message` does."""
    from kombu.compression import decompress

    return memoryview(decompress(bytes(body), compression))


def upgraded(body: dict[str, Any], headers: dict[str, Any], is_protocol_1: bool) -> tuple[Any, dict[str, Any]]:
    """A body of protocol 1, or one that mixes both protocols, as protocol 2's payload and headers."""
    from celery.exceptions import InvalidTaskError
    from celery.worker.strategy import hybrid_to_proto2, proto1_to_proto2

    if not is_protocol_1 and "args" not in body:
        raise Malformed("its body is an object without 'args', where [args, kwargs, embed] was expected")
    convert = proto1_to_proto2 if is_protocol_1 else hybrid_to_proto2
    try:
        payload, upgraded_headers, _, _ = convert(HeadersOnly(headers), body)
    except InvalidTaskError as error:
        raise Malformed(str(error)) from error
    return payload, upgraded_headers


class HeadersOnly:
    """What `celery.worker.strategy` reads of a message."""

    def __init__(self, headers: dict[str, Any]) -> None:
        self.headers = headers


def described(value: Any) -> str:
    """What a decoded body is, in few words."""
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    return "null" if value is None else f"of type {type(value).__name__}"


def restore(value: Any) -> Any:
    """Turn the stand-ins for AMQP timestamps and decimals back into Python's own, as py-amqp gives them."""
    if isinstance(value, dict):
        return {key: restore(item) for key, item in value.items()}
    if isinstance(value, list):
        return [restore(item) for item in value]
    if isinstance(value, tuple) and len(value) == 2:
        if value[0] == "\0T":
            # In UTC and without saying so, as py-amqp has it.
            return datetime.fromtimestamp(value[1], tz=timezone.utc).replace(tzinfo=None)
        if value[0] == "\0D":
            return Decimal(value[1])
    return value
