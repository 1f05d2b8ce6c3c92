"""Halves of surrogate pairs, which JSON may escape and no text may hold.

JavaScript cuts texts between the two halves of an emoji and then escapes one half, D83D, alone. Strict readers refuse the whole
document for it; others, Go's and so the vendor's among them, read U+FFFD, the replacement character.
"""

import re
from typing import Final

_ESCAPE: Final = re.compile(
    rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|u([dD][c-fC-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_REPLACEMENT: Final = b"\\ufffd"


def without_lone_surrogates(json_text: bytes) -> bytes:
    """The same JSON with U+FFFD for every escaped half of a pair that lacks the other; ``json_text`` itself where none does."""
    if b"\\ud" not in json_text and b"\\uD" not in json_text:
        return json_text
    return _ESCAPE.sub(_whole, json_text)


def _whole(escape: re.Match[bytes]) -> bytes:
    first, second, second_alone = escape.groups()
    if second_alone is not None or (first is not None and second is None):
        return _REPLACEMENT
    return escape[0]
