"""What makes two requests, or two events, the same: keys that are remembered, and uuids that are made of them.

Keys and uuids are functions of their input alone, so that every worker makes the same ones.
"""

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any, Final

import msgspec

LONGEST_IDEMPOTENCY_KEY: Final = 512
"""Characters of an idempotency key that a caller may send."""

_UUID_VERSION: Final = 8


def request_key(webhook_id: str, idempotency_key: str, made: int = 0) -> str:
    """The key of a webhook's requests that carry ``idempotency_key``; empty where the caller sent none.

    ``made`` is the revision under which the webhook was made: another one that is given the same id later has its own keys.
    """
    if not idempotency_key:
        return ""
    return f"w{_digest('webhook', webhook_id, idempotency_key, *([str(made)] if made else []))}"


def content_key(
    *,
    application: str,
    user_id: str | None,
    device_id: str | None,
    name: str,
    timestamp: str | float | None,
    attributes: Mapping[str, Any] | None,
) -> str:
    """The key of an event that carries no id of its own, made of what it says.

    Absent, null and empty are the same, and so are attributes in another order. Without a ``timestamp`` the key is empty: a
    repeated event and a new one then look the same, so neither may be dropped.
    """
    if timestamp is None or timestamp == "":
        return ""
    content = msgspec.json.encode((timestamp, attributes or {}), order="sorted").decode()
    return f"s{_digest('event', application, user_id or '', device_id or '', name, content)}"


def uuid_of(seed: str) -> str:
    """The uuid (RFC 9562, version 8) of the event that ``seed`` names: a key of this module, or a request id and a number."""
    digest = bytearray(hashlib.sha256(f"event\0{seed}".encode("utf-8", "surrogatepass")).digest()[:16])
    digest[6] = digest[6] & 0x0F | _UUID_VERSION << 4
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))


def _digest(*parts: str) -> str:
    """SHA-256 in hexadecimal digits; the lengths stand before the parts, so that no two lists of parts read the same."""
    state = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        state.update(len(encoded).to_bytes(8, "big"))
        state.update(encoded)
    return state.hexdigest()
