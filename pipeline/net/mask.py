"""Takes secrets out of what endpoints send back.

An endpoint that shows the headers it was sent writes them as its own format does: JSON escapes a slash or a quotation mark, a
form has percent signs, HTML has entities, and one may stand inside another. So a text is looked at as it is, and as it reads
with its escapes resolved, once and again.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Self

MASK: Final = "***"
SHORTEST_SECRET_CHARS: Final = 4
"""What is shorter is not looked for: it would be found everywhere."""

_DEEPEST: Final = 2
_ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"
_SIGNS: Final = (
    re.compile(r"\\u(?P<unicode>[0-9a-fA-F]{4})|\\(?P<escaped>.)", re.DOTALL),
    re.compile(r"(?P<percent>%[c-fC-F][0-9a-fA-F](?:%[89abAB][0-9a-fA-F]){1,3}|%[0-7][0-9a-fA-F])"),
    re.compile(r"&#x(?P<hex>[0-9a-fA-F]{1,5});|&#(?P<decimal>[0-9]{1,6});|&(?P<entity>amp|lt|gt|quot|apos);"),
)
"""What stands for a character in JSON, in URLs and forms, and in HTML."""
_HALF_A_SIGN: Final = re.compile(r"(?:\\(?:u[0-9a-fA-F]{0,3})?|%[0-9a-fA-F]?|&#?\w{0,6})\Z")
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_ENTITIES: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_LAST_CODE: Final = 0x10FFFF


class Mask:
    """Hides ``secrets`` in texts of some KiB. Those shorter than ``SHORTEST_SECRET_CHARS`` are left out."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = _long_enough(secrets)

    def hide(self, text: str, more_secrets: Iterable[str] = ()) -> str:
        """Give ``text`` with ``***`` in place of each secret, and of the beginning of one where the text was cut off."""
        secrets = (*self._secrets, *_long_enough(more_secrets))
        spans: list[tuple[int, int]] = []
        readings = [_Reading(text, range(len(text) + 1))] if secrets else []
        for depth in range(_DEEPEST + 1):
            for secret in secrets:
                for reading in readings:
                    spans += reading.places_of(secret)
            if depth < _DEEPEST:
                readings = [each.resolved(signs) for each in readings for signs in _SIGNS if signs.search(each.text)]
        return _without(text, spans)


class _Reading(NamedTuple):
    """How a text reads. ``starts`` says of each character where it begins in the original, and at last where that ends."""

    text: str
    starts: Sequence[int]

    def resolved(self, signs: re.Pattern[str]) -> Self:
        """Give what it reads like with one kind of ``signs`` resolved."""
        pieces: list[str] = []
        starts: list[int] = []
        at = 0
        for sign in signs.finditer(self.text):
            pieces += (self.text[at : sign.start()], _meant(sign))
            starts += (*self.starts[at : sign.start()], self.starts[sign.start()])
            at = sign.end()
        return type(self)("".join([*pieces, self.text[at:]]), [*starts, *self.starts[at:]])

    def places_of(self, secret: str) -> Iterator[tuple[int, int]]:
        """Where a secret stands in the original: first and after its last character."""
        at = self.text.find(secret[:SHORTEST_SECRET_CHARS])
        if at < 0:
            return
        at = self.text.find(secret)
        while at >= 0:
            yield self.starts[at], self.starts[at + len(secret)]
            at = self.text.find(secret, at + len(secret))
        whole = self.text.removesuffix(_ELLIPSIS)
        for end in (whole, _HALF_A_SIGN.sub("", whole)):
            for length in range(min(len(secret) - 1, len(end)), SHORTEST_SECRET_CHARS - 1, -1):
                if end.endswith(secret[:length]):
                    yield self.starts[len(end) - length], self.starts[-1]
                    break


def _meant(sign: re.Match[str]) -> str:
    """The one character that a sign stands for."""
    kind, written = sign.lastgroup, sign[sign.lastgroup or 0]
    if kind == "escaped":
        return _CONTROLS.get(written, written)
    if kind == "entity":
        return _ENTITIES[written]
    if kind == "percent":
        return bytes.fromhex(written.replace("%", "")).decode("utf-8", "replace")[:1]
    return chr(min(int(written, 10 if kind == "decimal" else 16), _LAST_CODE))


def _long_enough(secrets: Iterable[str]) -> tuple[str, ...]:
    return tuple(secret for secret in secrets if len(secret) >= SHORTEST_SECRET_CHARS)


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    pieces: list[str] = []
    at = 0
    for start, end in sorted(spans):
        if end <= at:
            continue
        if start >= at:
            pieces += (text[at:start], MASK)
        at = end
    return "".join([*pieces, text[at:]])
