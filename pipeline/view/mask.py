"""Personal data out of sight: a short tag in its place, the same wherever the same value stands.

A tag lets a viewer see that two rows tell of one person, and not of whom. It is made before anything is searched, so masked
data cannot be found by parts of it; a whole value is found, since whoever has it can make the tag.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

from pipeline.errors import ViewQueryError
from pipeline.view.columns import Column, Columns, Kind, Personal, Row, column_named
from pipeline.view.query import Condition, Operator, Query

TAG_CHARS: Final = 10
DEEPEST: Final = 64
"""Levels of an event that are looked at; below, nothing is shown."""

_TAG = re.compile(rf"(?:{'|'.join(Personal)}):[0-9a-f]{{{TAG_CHARS}}}")
_EMAIL = re.compile(r"[^\s@<>\"'(),:;\[\]]{1,64}@[^\s@<>\"'(),:;\[\]]{1,253}\.[^\s@<>\"'(),:;\[\].]{2,63}")
_NAMES: Final = {
    **dict.fromkeys(("email", "e_mail", "mail", "email_address", "emailaddress"), Personal.EMAIL),
    **dict.fromkeys(("phone", "phone_number", "phonenumber", "msisdn", "mobile", "tel"), Personal.PHONE),
    **dict.fromkeys(("hwid", "device_id", "push_token", "token"), Personal.HWID),
    **dict.fromkeys(("user_id", "userid", "profile_id", "customer_id"), Personal.USER_ID),
    "payload": Personal.PAYLOAD,
}
"""Fields of events, by what they hold; in any case, with dashes or underscores."""

_HARMLESS: Final = frozenset(
    {
        "application_code",
        "campaign_code",
        "campaign_id",
        "device_type",
        "error_message",
        "event_name",
        "journey_point_title",
        "journey_title",
        "live_activity_id",
        "message_code",
        "message_id",
        "platform",
        "timestamp",
        "trigger_id",
        "uuid",
    }
)
"""Fields of an event that say nothing of whom it happened to; all others are hidden with its payload."""

_PHONE_PLATFORMS: Final = frozenset({"sms", "whatsapp", "18"})
"""Platforms whose device is known by its phone number."""

_EXACT: Final = frozenset({Operator.EXACT, Operator.NOT, Operator.IN, Operator.BLANK})


def mask_value(personal: Personal, value: Any) -> Any:
    """The tag in place of ``value``, for example ``email:3f9a12c07b``; what is empty, or a tag already, stays as it is."""
    if value is None or value == "" or (isinstance(value, str) and _TAG.fullmatch(value)):
        return value
    text = value if isinstance(value, str) else _plain(value)
    if personal is Personal.EMAIL:
        text = text.strip().casefold()  # one mailbox, however it is written
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), person=b"distributary").hexdigest()
    return f"{personal.value}:{digest[:TAG_CHARS]}"


def hidden_as(column: Column, masks: Collection[Personal]) -> Personal | None:
    """What a column's values are hidden as, whole; ``None`` where they are not."""
    if column.personal in masks:
        return column.personal
    return Personal.PAYLOAD if column.is_raw and masks else None


def is_quoted(column: Column, masks: Collection[Personal]) -> bool:
    """Whether parts of a column's values are hidden."""
    return column.is_quoting and Personal.EMAIL in masks and hidden_as(column, masks) is None


def mask_row(columns: Columns, row: Row, masks: Collection[Personal]) -> Row:
    """The row with tags in place of what its columns declare as personal; the same one where there is nothing to mask."""
    if not masks:
        return row
    masked: Row = {}
    for column in columns:
        value = row.get(column.name)
        if value is None or value == "":
            continue
        personal = hidden_as(column, masks)
        if personal is not None:
            masked[column.name] = mask_value(personal, value)
        elif is_quoted(column, masks) and isinstance(value, str) and "@" in value:
            masked[column.name] = mask_text(value, masks)
    return row | masked if masked else row


def mask_event(event: Any, masks: Collection[Personal]) -> Any:
    """A decoded event, or any JSON that holds some, with tags in place of personal data, however deep.

    Fields are known by their names, addresses of e-mail also by their form, in any text. The device of an SMS is a phone.
    """
    return _masked(event, frozenset(masks), 0) if masks else event


def mask_text(text: str, masks: Collection[Personal]) -> str:
    """Text of others, an error message for instance, with tags in place of the addresses of e-mail in it."""
    if Personal.EMAIL not in masks or "@" not in text:
        return text
    return _EMAIL.sub(lambda found: str(mask_value(Personal.EMAIL, found[0])), text)


def masked_query(query: Query, columns: Columns, masks: Collection[Personal]) -> Query:
    """The query as masked rows are to be asked: whole values become tags.

    Raises ``ViewQueryError`` where it compares parts of what is masked, or how much it is.
    """
    if not masks:
        return query
    return replace(query, conditions=tuple(_condition(each, columns, masks) for each in query.conditions))


def _condition(condition: Condition, columns: Columns, masks: Collection[Personal]) -> Condition:
    column = column_named(columns, condition.column)
    if column is None:
        return condition
    if is_quoted(column, masks) and isinstance(condition.value, str | tuple):
        return replace(condition, value=_quoted(condition.value, masks))
    personal = hidden_as(column, masks)
    if personal is None:
        return condition
    if condition.operator not in _EXACT or column.kind is Kind.JSON:
        raise ViewQueryError(
            f"{condition.column}: is masked for you, so it can only be compared with a whole value: {condition.column}=VALUE"
        )
    if condition.operator is Operator.BLANK:
        return condition
    if condition.operator is Operator.IN:
        return replace(condition, value=tuple(mask_value(personal, each) for each in condition.value))
    return replace(condition, value=mask_value(personal, condition.value))


def _quoted(value: Any, masks: Collection[Personal]) -> Any:
    if isinstance(value, tuple):
        return tuple(_quoted(each, masks) for each in value)
    return mask_text(value, masks) if isinstance(value, str) else value


def _masked(value: Any, masks: frozenset[Personal], depth: int) -> Any:
    if isinstance(value, str):
        return mask_text(value, masks)
    if isinstance(value, list | tuple):
        return [_masked(each, masks, depth + 1) for each in value] if depth < DEEPEST else "..."
    if not isinstance(value, dict):
        return value
    if depth >= DEEPEST:
        return "..."
    is_phone = str(value.get("platform", "")).casefold() in _PHONE_PLATFORMS
    is_event = "event_name" in value
    return {
        name: _masked_field(name, each, masks, depth, is_phone=is_phone, is_event=is_event)
        for name, each in value.items()
    }


def _masked_field(
    name: Any, value: Any, masks: frozenset[Personal], depth: int, *, is_phone: bool, is_event: bool
) -> Any:
    personal = _NAMES.get(str(name).casefold().replace("-", "_"))
    if personal is not None and personal in masks:
        return mask_value(personal, value)
    if personal is Personal.HWID and is_phone and Personal.PHONE in masks:
        return mask_value(Personal.PHONE, value)
    if is_event and personal is None and Personal.PAYLOAD in masks and name not in _HARMLESS:
        return mask_value(Personal.PAYLOAD, value)
    return _masked(value, masks, depth + 1)


def _plain(value: Any) -> str:
    return repr(value) if isinstance(value, dict | list | tuple) else str(value)
