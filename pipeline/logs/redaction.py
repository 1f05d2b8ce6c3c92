"""Keeps secrets out of log lines, whoever logs them."""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

MASK = "***"

_WORDS = (
    r"authorization|secret|token|password|passwd|api[_-]?key|write[_-]?key|private[_-]?key|cookie|credential|signature"
)
_SECRET_KEY = re.compile(_WORDS, re.IGNORECASE)
# The name stays, the value goes: "Authorization: Bearer abc", "token=abc", '"password": "abc"'. A colon after a dotted name
# is a configuration key whose mistake is being explained.
_SECRET_IN_TEXT = re.compile(
    rf"""((?:(?<![.\w-])(?:{_WORDS})s?["']?\s*:\s*|(?:{_WORDS})s?["']?\s*=\s*)["']?)"""
    r"""(?:(?:bearer|basic|apikey)\s+)?[^\s"',;&})\]]+""",
    re.IGNORECASE,
)
_PASSWORD_IN_URL = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask what is named like a secret, at any depth, and what looks like one in text (a structlog processor).

    Numbers and truth values under such names stay: they are counts and switches.
    """
    for key, value in event.items():
        event[key] = _masked(key, value)
    return event


def _masked(key: object, value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(key, str) and _SECRET_KEY.search(key):
        return MASK
    if isinstance(value, str):
        return _PASSWORD_IN_URL.sub(rf"\1{MASK}@", _SECRET_IN_TEXT.sub(rf"\1{MASK}", value))
    if isinstance(value, Mapping):
        return {inner_key: _masked(inner_key, inner) for inner_key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_masked(None, inner) for inner in value]
    return value
