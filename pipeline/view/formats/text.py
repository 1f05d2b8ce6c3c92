"""Values as text that does no harm, whatever an event held: no invisible or reordering characters, no broken Unicode."""

import json
import math
import re
from typing import Any, Final

SHOWN_CHARACTERS: Final = 300
DEEPEST: Final = 100

_TWISTED: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def inert(text: str) -> str:
    r"""``text`` with each control character, direction mark and lone surrogate written out, such as ``\u202e``.

    Line breaks and tabs stay. The result is always valid Unicode.
    """
    return text if text.isascii() and text.isprintable() else _TWISTED.sub(_written_out, text)


def whole(text: str) -> str:
    r"""``text`` with lone surrogates written out, such as ``\ud800``, so that every reader of JSON takes it."""
    return text if text.isascii() else _SURROGATE.sub(_written_out, text)


def plain(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911 one return a type reads best
    """``value`` as JSON can hold it: keys are text, text is ``whole``, numbers that are none become ``None``.

    What is nested deeper than readers commonly take is left out.
    """
    if depth > DEEPEST:
        return "(nested too deeply to show)"
    match value:
        case str():
            return whole(value)
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {whole(str(key)): plain(each, depth + 1) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(each, depth + 1) for each in value]
        case None | bool() | int():
            return value
        case bytes():
            return whole(value.decode("utf-8", "backslashreplace"))
    return whole(str(value))


def text_of(value: Any) -> str:
    """``value`` in words: nothing for ``None``, ``true`` and ``false``, JSON for what is nested."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return "" if not math.isfinite(value) else str(int(value)) if value.is_integer() else repr(value)
    return json.dumps(plain(value), ensure_ascii=False, separators=(", ", ": "))


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 the last that four digits can write
