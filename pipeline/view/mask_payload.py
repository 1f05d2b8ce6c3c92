"""Payloads of other people's systems for those who may not see personal data: which fields there are, and not what is in them.

Fields of an event are known by their names. A payload's may have any name, so two things are hidden beside those: whatever
equals the identifier of the user, and, from those who may not see payloads at all, every value.
"""

from collections.abc import Collection
from typing import Any, Final

import msgspec

from pipeline.view.columns import Personal
from pipeline.view.mask import DEEPEST, mask_event, mask_value

HIDDEN: Final = "(hidden: it is not JSON, or only the beginning of it, so personal data in it cannot be masked)"


def mask_payload(payload: Any, masks: Collection[Personal], *, by: str = "", identifier: str = "") -> Any:
    """A decoded payload with tags in place of what ``masks`` names; ``identifier`` is the user's, ``by`` what kind it is."""
    if not masks:
        return payload
    kind = Personal(by) if by in set(Personal) else None
    told = identifier if kind in masks else ""
    return mask_event(_masked(payload, frozenset(masks), kind, told, 0), masks)


def payload_text(body: str, masks: Collection[Personal], *, by: str = "", identifier: str = "") -> str:
    """A body as it may be shown: indented where it is JSON, as it is where it is not, and ``HIDDEN`` where it cannot be masked."""
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return HIDDEN if masks and body else body
    masked = mask_payload(payload, masks, by=by, identifier=identifier)
    try:
        return msgspec.json.format(msgspec.json.encode(masked), indent=2).decode()
    except (msgspec.MsgspecError, RecursionError):  # deeper than it takes
        return HIDDEN if masks else body


def _masked(value: Any, masks: frozenset[Personal], kind: Personal | None, identifier: str, depth: int) -> Any:
    if depth >= DEEPEST:
        return "..."
    if isinstance(value, dict):
        return {name: _masked(each, masks, kind, identifier, depth + 1) for name, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, masks, kind, identifier, depth + 1) for each in value]
    if value is None or isinstance(value, bool):
        return value
    if identifier and kind is not None and str(value).strip() == identifier:
        return mask_value(kind, identifier)
    return mask_value(Personal.PAYLOAD, value) if Personal.PAYLOAD in masks else value
