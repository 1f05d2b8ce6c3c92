"""Which key an event is published with: events of one user or device keep their order."""

import re

_USER = re.compile(rb'"user_id"\s*:\s*"([^"\\]{1,200})"')
_DEVICE = re.compile(rb'"hwid"\s*:\s*"([^"\\]{1,200})"')


def key_of(event: bytes) -> bytes | None:
    """Give the user id, else the device id, of an encoded event; ``None`` where it shows neither, as poison may."""
    found = _USER.search(event) or _DEVICE.search(event)
    return found[1] if found else None
