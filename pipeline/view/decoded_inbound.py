"""Rows and records of what comes in, decoded and masked: tables ``inbound`` and ``users``, and the topics before them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from pipeline.errors import CodecError
from pipeline.inbound import rows as inbound
from pipeline.inbound.request import InboundRequest, decode
from pipeline.users import rows as users
from pipeline.view.columns import Personal
from pipeline.view.mask import mask_event, mask_value
from pipeline.view.mask_payload import mask_payload, payload_text

TABLES: Final = frozenset({"inbound", "users"})
TOPICS: Final[Mapping[str, str]] = MappingProxyType({"inbound-requests": "request", "user-updates": "update"})
"""What their records are called."""

HIDDEN: Final = "hidden: it tells of a person whom you may not see; the page of users shows what you may"

_INBOUND: Final = {inbound.KEYS: "key", inbound.COUNTS: "counts", inbound.SUBJECTS: "subject"}
_USERS: Final = {users.USERS: "user", users.LINKS: "identifier", users.GRAVES: "deleted", users.PROOFS: "proof"}


def kind_of(table: str, key: bytes) -> str:
    """What a row is, by its key."""
    if table == "users":
        return _USERS.get(key[:2], "other")
    return _INBOUND.get(key[:2], "progress")


def row(table: str, key: bytes, value: bytes | None, masks: frozenset[Personal]) -> Any:
    """What a row says; raises ``CodecError`` where it cannot be read."""
    if value is None:
        return None
    if table == "users":
        return HIDDEN if masks else _plain(value)
    match kind_of(table, key):
        case "key":
            return {"expires_at": inbound.decode_expiry(value)}
        case "counts":
            return _built(inbound.decode_counts(value))
        case "subject":
            told = _built(inbound.decode_subject(value))
            del told["secret_mark"]
            return told
        case _:
            return _built(inbound.decode_progress(value))


def record(topic_kind: str, value: bytes, masks: frozenset[Personal]) -> Any:
    """What a record says; raises ``CodecError`` where it cannot be read."""
    if topic_kind != "inbound-requests":
        return HIDDEN if masks else _plain(value)
    try:
        return masked_request(decode(value), masks)
    except CodecError:
        if masks:
            return HIDDEN
        raise


def masked_request(request: InboundRequest, masks: frozenset[Personal]) -> dict[str, Any]:
    """A request with tags in place of what ``masks`` names, as far down as its body and its events."""
    told: dict[str, Any] = msgspec.to_builtins(request, builtin_types=(msgspec.Raw,))
    by, identifier = request.identifier_by, request.identifier
    if masks:
        if by in set(Personal) and Personal(by) in masks:
            told["identifier"] = mask_value(Personal(by), identifier)
        told["body"] = payload_text(request.body, masks, by=by, identifier=identifier)
        for name in ("user_key", "detail", "key"):  # they may hold any identifier
            if name in told:
                told[name] = mask_value(Personal.PAYLOAD, told[name])
    told["events"] = [
        {"key": event.key, "uuid": event.uuid, "event": masked_event(event.event, masks, by, identifier)}
        for event in request.events
    ]
    return told


def masked_event(event: bytes | msgspec.Raw, masks: frozenset[Personal], by: str, identifier: str) -> dict[str, Any]:
    """An event that a request fired, decoded; its attributes are masked as its payload is. Raises ``CodecError``."""
    decoded = msgspec.json.decode(event)
    if not isinstance(decoded, dict):
        raise CodecError("an event of the request is no JSON object")
    if masks:
        decoded["attributes"] = mask_payload(decoded.get("attributes") or {}, masks, by=by, identifier=identifier)
    masked: dict[str, Any] = mask_event(decoded, masks)
    return masked


def _plain(value: bytes) -> Any:
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    try:
        return msgspec.json.decode(msgspec.json.encode(msgspec.msgpack.decode(value)))
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError) as error:
        raise CodecError(f"it is neither JSON nor msgpack ({error})") from error


def _built(of: msgspec.Struct) -> dict[str, Any]:
    return {name: msgspec.to_builtins(getattr(of, name)) for name in of.__struct_fields__ if name != "version"}
