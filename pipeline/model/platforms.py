"""The platforms that an event can come from: the vendor's 16 display names, most of which also have a number, and ``Web``."""

import difflib
from types import MappingProxyType
from typing import Final

PLATFORMS: Final = MappingProxyType(
    {
        "iOS": 1,
        "Android": 3,
        "macOS": 7,
        "Windows": 8,
        "Amazon": 9,
        "Safari": 10,
        "Chrome": 11,
        "Firefox": 12,
        "Internet Explorer": 13,
        "Baidu": None,
        "Huawei": 17,
        "Email": None,
        "SMS": 18,
        "Line": None,
        "Xiaomi": 19,
        "WhatsApp": 21,
        "Web": None,
    }
)
"""Display name -> numeric code; ``None`` where the platform has no number.

``Web`` is not one of the vendor's: events that come in from outside and name no device are of it.
"""

_NAMES: Final[dict[str | int, str]] = {}
for _name, _code in PLATFORMS.items():
    _NAMES[_name] = _name
    if _code is not None:
        _NAMES[_code] = _NAMES[str(_code)] = _name
_BY_LOWER_CASE: Final = {name.lower(): name for name in PLATFORMS}


def platform_name(value: str | int) -> str:
    """Return the display name for a display name or a numeric code (``1``, ``"1"``).

    Raises ``ValueError`` for anything else; the message names what is close, or all that is allowed.
    """
    # True == 1 and 1.0 == 1 for a dict, but neither is a platform code.
    name = _NAMES.get(value) if type(value) in (str, int) else None
    if name is None:
        raise ValueError(_refusal(value))
    return name


_LONGEST_SHOWN = 40


def _refusal(value: object) -> str:
    shown = repr(value)
    if len(shown) > _LONGEST_SHOWN:  # whoever wrote it may have written megabytes
        shown = f"a {type(value).__name__} of {len(shown)} characters"
    elif isinstance(value, str):
        close = difflib.get_close_matches(value.strip().lower(), _BY_LOWER_CASE, n=1)
        if close:
            return f"{shown} is not a platform; did you mean {_BY_LOWER_CASE[close[0]]}?"
    return f"{shown} is not a platform; allowed: {', '.join(PLATFORMS)}, or their numeric codes"
