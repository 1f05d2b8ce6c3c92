"""Rows of tables and records of topics as people read them: decoded, masked, and never with a secret in them.

What cannot be decoded is shown all the same, with the reason: this is where people look when something is wrong.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from pipeline.delivery import rows as pending
from pipeline.errors import CodecError
from pipeline.inbound.settings import WebhookSettings
from pipeline.integrations import stored
from pipeline.integrations.secrets import masked
from pipeline.model.attempt import decode_parked
from pipeline.model.batch import Batch, decode_batch, integration_of
from pipeline.model.events import EventRun
from pipeline.model.frame import decode_frame
from pipeline.model.moments import format_hour
from pipeline.model.section import Section
from pipeline.view import decoded_inbound
from pipeline.view.columns import Personal
from pipeline.view.mask import mask_event, mask_text, mask_value
from pipeline.view.sample import mask_webhook
from pipeline.windows import rows as windows
from pipeline.windows.bodies import join

MOST_EVENTS: Final = 200
"""Events of one row or record that are shown; the others are counted."""
MOST_TEXT: Final = 64 << 10
_PENDING: Final = "pending-"
_RECORDS: Final = {
    "source": "event",
    "inbound": "event",
    "attempts": "attempt",
    "notices": "notice",
    "dead-letters": "dead letter",
}
_ENGINE: Final = b"\0"
_SHOWN_SECRETS: Final = frozenset({"kind", "enabled"})


class KeyWords(NamedTuple):
    """What a row's key alone says."""

    kind: str
    lane: str | None
    integration: str | None


class Decoded(NamedTuple):
    """What a row or record says. ``kind`` is a word for what it is, ``problem`` why it could not be read, else empty."""

    kind: str
    lane: str | None
    integration: str | None
    value: Any
    problem: str = ""


def decode_table_row(  # noqa: PLR0911 one return a table
    table: str,
    key: bytes,
    value: bytes | None,
    masks: frozenset[Personal],
    *,
    sections: Mapping[str, type[Section]],
    with_events: bool = False,
) -> Decoded:
    """Read a row of table ``table``; ``value`` is ``None`` where it was removed.

    ``sections`` are the classes of settings by kind of sink, which know what is secret. ``with_events`` shows the events of a
    window, else they are counted alone.
    """
    if key.startswith(_ENGINE):
        return Decoded("claim", None, None, None if value is None else {"claim": value.hex()})
    try:
        if table == "windows":
            return _window_row(key, value, masks, with_events=with_events)
        if table.startswith(_PENDING):
            return _pending_row(key, value, masks)
        if table == "integrations":
            return _integrations_row(key, value, masks, sections)
        if table in decoded_inbound.TABLES:
            return Decoded(
                decoded_inbound.kind_of(table, key), None, None, decoded_inbound.row(table, key, value, masks)
            )
    except CodecError as error:
        # What cannot be read of an integration may be a secret of it.
        return Decoded("unknown", None, None, None if table == "integrations" else _any(value, masks), str(error))
    return Decoded("row", None, None, _any(value, masks))


def read_key(table: str, key: bytes) -> KeyWords:  # noqa: PLR0911 one return a table
    """What a row of table ``table`` is, by its key alone; ``unknown`` where that is none of the table's."""
    try:
        if table == "windows":
            owner = windows.parse_key(key)
            if isinstance(owner, windows.SourceKey):
                return KeyWords("watermark", None, None)
            return KeyWords("window", owner.lane, integration_of(owner.lane))
        if table.startswith(_PENDING):
            lane, row_kind, _ = pending.parse_key(key)
            return KeyWords(_PENDING_ROWS[row_kind][0], lane, integration_of(lane))
        if table == "integrations":
            found = stored.parse_key(key)
            return KeyWords(_STORED_ROWS[found.kind], None, None if found.kind in "aw" else found.name)
        if table in decoded_inbound.TABLES:
            return KeyWords(decoded_inbound.kind_of(table, key), None, None)
    except CodecError:
        return KeyWords("unknown", None, None)
    return KeyWords("row", None, None)


def decode_record(  # noqa: PLR0911 one return a topic
    topic_kind: str, value: bytes | None, masks: frozenset[Personal], *, with_events: bool = True
) -> Decoded:
    """Read a record of one of the app's topics: ``source``, ``routed``, ``batches``, ``parked``, ``attempts`` or any other."""
    if value is None:
        return Decoded("tombstone", None, None, None)
    try:
        if topic_kind == "routed":
            return _frame(value, masks, with_events=with_events)
        if topic_kind == "batches":
            batch = decode_batch(value)
            kind = str(batch.request or "batch")
            return Decoded(kind, batch.lane, batch.integration_id, _batch(batch, masks, with_events=with_events))
        if topic_kind == "parked":
            parked = decode_parked(value)
            batch = decode_batch(parked.batch)
            told = {
                "kind": parked.kind,
                "reason": mask_text(parked.reason, masks),
                "attempts": parked.attempts,
                "parked_at": parked.parked_at,
                "batch": _batch(batch, masks, with_events=with_events),
            }
            return Decoded("parked", batch.lane, batch.integration_id, told)
        if topic_kind in decoded_inbound.TOPICS:
            return Decoded(
                decoded_inbound.TOPICS[topic_kind], None, None, decoded_inbound.record(topic_kind, value, masks)
            )
    except (CodecError, msgspec.MsgspecError, ValueError) as error:
        return Decoded("unknown", None, None, _any(value, masks), str(error))
    decoded = _any(value, masks)
    integration = decoded.get("integration") if isinstance(decoded, dict) else None
    word = _RECORDS.get(topic_kind, "record")
    return Decoded(word, None, integration if isinstance(integration, str) else None, decoded)


def key_text(key: bytes) -> str:
    """A key as it is shown and stands in URLs: its text, or ``0x`` and its bytes where it is none."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return f"0x{key.hex()}"
    return text if text.isprintable() and not text.startswith("0x") else f"0x{key.hex()}"


def key_bytes(text: str) -> bytes:
    """The key that ``key_text`` shows so; raises ``ValueError`` where it is none."""
    if not text.startswith("0x"):
        return text.encode()
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        raise ValueError("is no key; after 0x come its bytes, two hexadecimal digits each") from None


def _window_row(key: bytes, value: bytes | None, masks: frozenset[Personal], *, with_events: bool) -> Decoded:
    owner = windows.parse_key(key)
    if isinstance(owner, windows.SourceKey):
        read = None if value is None else _built(windows.decode_source_row(key, value))
        return Decoded("watermark", None, None, read)
    integration = integration_of(owner.lane)
    if value is None:
        return Decoded("window", owner.lane, integration, None)
    row = windows.decode_window_row(key, value)
    told: dict[str, Any] = {
        "slot": owner.slot,
        "first": row.row_first,
        "end": row.row_end,
        "window_first": row.first,
        "events": row.count,
        "opened_at": row.opened_at,
        "applied_offset": row.applied_offset,
        "bytes": len(row.block),
    }
    if with_events:
        run = join([(row.block, row.ends)]) if row.count else EventRun.of([])
        told |= _events(run, masks)
    return Decoded("window", owner.lane, integration, told)


_STORED_ROWS: Final = {"i": "integration", "w": "webhook", "k": "kind", "a": "audit"}
_PENDING_ROWS: Final[Mapping[pending.RowKind, tuple[str, type[Any]]]] = {
    pending.RowKind.LANE: ("lane", pending.LaneRow),
    pending.RowKind.BATCH: ("batch", pending.BatchRow),
    pending.RowKind.PARKED: ("parked", pending.ParkedRow),
    pending.RowKind.HOUR: ("hour", pending.HourRow),
}


def _pending_row(key: bytes, value: bytes | None, masks: frozenset[Personal]) -> Decoded:
    lane, row_kind, number = pending.parse_key(key)
    kind, row_type = _PENDING_ROWS[row_kind]
    integration = integration_of(lane)
    if value is None:
        return Decoded(kind, lane, integration, None)
    told = _built(pending.decode_row(row_type, key, value))
    if row_kind in {pending.RowKind.BATCH, pending.RowKind.PARKED}:
        told = {"first": number, **told}
    elif row_kind is pending.RowKind.HOUR:
        told = {"hour": f"{format_hour(number)} UTC", **told}
    return Decoded(kind, lane, integration, mask_event(told, masks))


def _integrations_row(
    key: bytes, value: bytes | None, masks: frozenset[Personal], sections: Mapping[str, type[Section]]
) -> Decoded:
    found = stored.parse_key(key)
    if found.kind == "a":
        entry = None if value is None else _built(stored.decode_row(stored.AuditEntry, key, value))
        return Decoded("audit", None, entry["target"] if entry else None, mask_event(entry, masks))
    if found.kind == "k":
        return Decoded(
            "kind", None, found.name, None if value is None else _built(stored.decode_row(stored.KindRow, key, value))
        )
    if found.kind == "w":
        return Decoded("webhook", None, None, None if value is None else _webhook(key, value, masks))
    if value is None:
        return Decoded("integration", None, found.name, None)
    row = stored.decode_row(stored.Stored, key, value)
    section = sections.get(str(row.settings.get("kind")))
    # Settings of a kind that this version does not know may hold secrets anywhere.
    shown = (
        {name: each for name, each in row.settings.items() if name in _SHOWN_SECRETS}
        if section is None
        else masked(row.settings, section)
    )
    return Decoded("integration", None, found.name, {**_built(row), "settings": shown})


def _webhook(key: bytes, value: bytes, masks: frozenset[Personal]) -> dict[str, Any]:
    row = stored.decode_row(stored.StoredWebhook, key, value)
    return {**_built(row), "settings": mask_webhook(masked(row.settings, WebhookSettings), masks)}


def _frame(value: bytes, masks: frozenset[Personal], *, with_events: bool) -> Decoded:
    frame = decode_frame(value)
    slices: list[dict[str, Any]] = []
    for each in frame.slices:
        told: dict[str, Any] = {"lane": each.lane, "events": len(each.ends) // 4, "bytes": len(each.block)}
        if with_events and len(slices) < MOST_EVENTS:
            offsets = [frame.first_offset + distance for distance in each.offset_distances()[:MOST_EVENTS]]
            told |= {"source_offsets": offsets, **_events(each.run(), masks)}
        slices.append(told)
    return Decoded("frame", None, None, {**_built(frame, without="slices"), "slices": slices})


def _batch(batch: Batch, masks: frozenset[Personal], *, with_events: bool) -> dict[str, Any]:
    told = {
        "id": batch.id,
        "lane": batch.lane,
        "first": batch.first,
        "end": batch.end,
        "events_in_all": batch.event_count,
        "reason": str(batch.reason),
        "opened_at": batch.opened_at,
        "sealed_at": batch.sealed_at,
        "rest": batch.rest or None,
        "bytes": len(batch.block),
    }
    return told | _events(batch.run(), masks) if with_events else told


def _events(run: EventRun, masks: frozenset[Personal]) -> dict[str, Any]:
    count = run.event_count()
    shown = [_any(each, masks) for each in run.part(0, min(count, MOST_EVENTS)).events()] if count else []
    return {"shown": shown, "not_shown": count - len(shown)} if count > MOST_EVENTS else {"shown": shown}


def _built(row: msgspec.Struct, *, without: str = "") -> dict[str, Any]:
    names = [name for name in row.__struct_fields__ if name not in {"version", without}]
    return {name: msgspec.to_builtins(getattr(row, name)) for name in names}


def _any(value: bytes | None, masks: frozenset[Personal]) -> Any:
    """Whatever it is: JSON decoded, else text; what is not known to be harmless is a payload."""
    if value is None:
        return None
    try:
        return mask_event(msgspec.json.decode(value), masks)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    if masks:  # nobody knows where in it personal data is
        return mask_value(Personal.PAYLOAD, value.hex())
    return value[:MOST_TEXT].decode("utf-8", "replace")
