"""Values that JSON doesn't have, on their way to the agent: an object with one member, whose name says what it is."""

from __future__ import annotations

import base64
import datetime
import decimal
import uuid
from typing import Any


def encode(value: Any) -> Any:
    """For `json.dumps(default=…)`."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, decimal.Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, datetime.datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, datetime.date):
        return {"$date": value.isoformat()}
    if isinstance(value, datetime.time):
        return {"$time": value.isoformat()}
    if isinstance(value, uuid.UUID):
        return {"$uuid": str(value)}
    if isinstance(value, (set, frozenset)):
        return list(value)
    raise TypeError(f"a value of type {type(value).__name__} can't be sent to the agent: {value!r}")
