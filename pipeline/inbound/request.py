"""One record of the topic ``<app>-inbound-requests``: what came in, what became of it, and the events to hand on."""

from typing import Final, Literal

import msgspec

from pipeline.errors import CodecError
from pipeline.inbound.outcome import Outcome

SHOWN_BODY_BYTES: Final = 16 * 1024
"""How much of a body the activity log keeps."""
SHOWN_UNREAD_BYTES: Final = 1024
"""How much it keeps of a body that was refused before it was read: anybody can send those."""

Source = Literal["webhook", "segment"]


class InboundEvent(msgspec.Struct, kw_only=True, gc=False):
    """An accepted event: ``event`` is its JSON as it goes to ``<app>-inbound``.

    ``key`` is what a repetition would have too (``pipeline.inbound.keys``), empty where nothing tells repetitions;
    ``uuid`` is the event's own.
    """

    key: str
    uuid: str
    event: msgspec.Raw


class InboundRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One request to a webhook, or one of Segment's calls (a part of it for each target partition).

    ``at_s`` is when it came, UNIX seconds. ``request_id`` (uuid4) is the same in all parts of a call. ``status`` is the HTTP
    status of the answer; ``detail`` says more than the outcome, and never holds a secret. ``identifier`` is the value that the
    user was looked for by. ``key`` is the caller's idempotency key as it came. ``body`` is the body as text up to
    ``SHOWN_BODY_BYTES``, ``is_cut`` where that is not all of its ``size_bytes``. ``disregarded`` counts a call's events that
    were not taken, by reason; it stands in one part only, the one with ``is_first_part``, so that sums are right.
    """

    at_s: float
    request_id: str
    source: Source
    outcome: Outcome
    status: int
    detail: str = ""
    webhook_id: str = ""
    application: str = ""
    call: str = ""
    identifier_by: str = ""
    identifier: str = ""
    key: str = ""
    address: str = ""
    body: str = ""
    size_bytes: int = 0
    is_cut: bool = False
    user_key: str = ""
    events: list[InboundEvent] = []
    disregarded: dict[str, int] = {}
    is_first_part: bool = True


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(InboundRequest)


def encode(request: InboundRequest) -> bytes:
    """The record's value, JSON."""
    return _encoder.encode(request)


def decode(value: bytes | None) -> InboundRequest:
    """Read what ``encode`` wrote; raises ``CodecError`` where it is not that."""
    try:
        return _decoder.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CodecError(f"a record of inbound requests cannot be read: {error}") from None


def shown_body(body: bytes, most_bytes: int = SHOWN_BODY_BYTES) -> tuple[str, bool]:
    """``body`` as the activity log keeps it, and whether it was cut; what is not UTF-8 is shown as U+FFFD."""
    is_cut = len(body) > most_bytes
    # A character that the cut goes through is left out, not shown as broken.
    kept = body[:most_bytes]
    if is_cut:
        kept = _whole_characters(kept)
    return kept.decode("utf-8", "replace"), is_cut


def _whole_characters(text: bytes) -> bytes:
    for back in range(1, min(4, len(text)) + 1):
        first = text[-back]
        if first < 0x80:  # noqa: PLR2004  ASCII: the end is whole
            return text
        if first >= 0xC0:  # noqa: PLR2004  the first byte of a character, which needs 2, 3 or 4
            needed = 2 if first < 0xE0 else 3 if first < 0xF0 else 4  # noqa: PLR2004
            return text if back >= needed else text[:-back]
    return text
