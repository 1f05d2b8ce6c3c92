"""Answers that take a batch but for some of its events.

A success (2xx) whose body is a JSON object with a list ``failed`` names the events that the endpoint could not take, each by
its uuid or as an object with the uuid and why: ``{"failed": ["uuid", {"uuid": "...", "detail": "..."}]}``. These are tried
again, alone; all others have arrived. Where it names none that was sent, or names some in what is no JSON, nobody knows which
ones it means, and all are tried again. Any other body means that nothing failed. A body that is packed in a way other than
gzip cannot be read; the outcome says so.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgspec

from pipeline.model.attempt import Outcome, Verdict
from pipeline.model.ranges import ranges_of
from pipeline.net.client import Answer
from pipeline.net.json_answer import NO_JSON, json_of
from pipeline.net.retry_after import retry_after_s

_KEY: Final = b'"failed"'
# A list that is not empty, or whatever of it comes before the text breaks off.
_BEGINS_TO_NAME: Final = re.compile(rb'"failed"\s*(?:\Z|:\s*(?:\Z|\[\s*(?:\Z|[^\]\s])))')
_LONGEST_QUOTE_CHARS: Final = 120
_LONGEST_READ_CHARS: Final = 1024


class NamedFailures(NamedTuple):
    """The events that an answer names: uuid -> why, where it says so. ``unreadable`` counts entries that name none."""

    details: dict[str, str]
    unreadable: int


class _Uuid(msgspec.Struct):
    uuid: str | int | None = None


_uuid_decoder: Final = msgspec.json.Decoder(_Uuid)


def named_failures(body: bytes) -> NamedFailures | None:
    """What ``body`` names as failed; ``None`` where it is not of that form, or its list is empty."""
    if _KEY not in body:
        return None
    try:
        told = json_of(body)
    except NO_JSON:
        return None
    entries = told.get("failed") if isinstance(told, dict) else None
    if not isinstance(entries, list) or not entries:
        return None
    details: dict[str, str] = {}
    unreadable = 0
    for entry in entries:
        uuid, detail = (entry.get("uuid"), entry.get("detail")) if isinstance(entry, dict) else (entry, None)
        if _is_name(uuid):
            details.setdefault(str(uuid), detail if isinstance(detail, str) else "")
        else:
            unreadable += 1
    return NamedFailures(details, unreadable)


def without_failed(
    outcome: Outcome,
    answer: Answer,
    events: Callable[[], Iterable[tuple[int, bytes]]],
    *,
    now_s: float,
    masked: Callable[[str], str],
) -> Outcome:
    """``outcome``, a delivery that ``answer`` confirmed, less the events that it names as failed.

    ``events`` gives what was sent, with sequence numbers; it is asked only where something failed. ``masked`` takes secrets
    out of what the endpoint wrote. The verdict is then RETRY, and ``arrived`` names all others.

    All events are tried again where the list cannot tell which ones failed: it reaches beyond what is read of an answer, or
    none of its entries is an event that was sent.
    """
    if outcome.verdict is not Verdict.DELIVERED:
        return outcome
    if _is_packed(answer):
        way = _one_line(masked(answer.content_encoding or ""))
        words = f"{outcome.detail}, packed as {way} though it was asked not to be: failed events in it were not read"
        return msgspec.structs.replace(outcome, detail=words)
    if why := _why_unreadable(answer):
        return _all_again(outcome, answer, why, now_s=now_s)
    named = named_failures(answer.head) if answer.is_whole else None
    if named is None:
        return outcome
    failed: dict[int, str] = {}
    arrived: list[int] = []
    known: set[str] = set()
    for sequence, event in events():
        uuid = _uuid_of(event)
        if uuid in named.details:
            known.add(uuid)
            failed[sequence] = named.details[uuid]
        else:
            arrived.append(sequence)
    notes = _notes(named, known, masked)
    if not failed:
        return _all_again(outcome, answer, "names failed events, none of which was sent", *notes, now_s=now_s)
    first, why = next(iter(failed.items()))
    event_count = len(failed) + len(arrived)
    words = f"{outcome.detail}, and {len(failed)} of {event_count} events failed, the first: event {first}"
    words += f": {_one_line(masked(why[:_LONGEST_READ_CHARS]))}" if why else ""
    return msgspec.structs.replace(
        outcome,
        verdict=Verdict.RETRY,
        detail="; ".join([words, *notes]),
        retry_after_s=retry_after_s(answer.retry_after, now_s=now_s),
        arrived=ranges_of(arrived),
    )


def _all_again(outcome: Outcome, answer: Answer, why: str, *notes: str, now_s: float) -> Outcome:
    words = f"{outcome.detail}, and {why}: all are tried again"
    return msgspec.structs.replace(
        outcome,
        verdict=Verdict.RETRY,
        detail="; ".join([words, *notes]),
        retry_after_s=retry_after_s(answer.retry_after, now_s=now_s),
    )


def _why_unreadable(answer: Answer) -> str:
    """Why a list of failed events, if there is one, cannot be read; empty where it can."""
    if not _BEGINS_TO_NAME.search(answer.head):
        return ""
    if not answer.is_whole:
        return "names failed events in more than was read of it"
    try:
        json_of(answer.head)
    except NO_JSON:
        return "names failed events in what is no JSON"
    return ""


def _is_packed(answer: Answer) -> bool:
    return bool(answer.body_bytes) and (answer.content_encoding or "identity").strip().lower() not in {"", "identity"}


def _is_name(value: Any) -> bool:
    return (isinstance(value, str) and value != "") or (isinstance(value, int) and not isinstance(value, bool))


def _uuid_of(event: bytes) -> str:
    try:
        uuid = _uuid_decoder.decode(event).uuid
    except NO_JSON:
        return ""
    return "" if uuid is None else str(uuid)


def _notes(named: NamedFailures, known: set[str], masked: Callable[[str], str]) -> list[str]:
    notes = []
    unknown = [uuid for uuid in named.details if uuid not in known]
    if unknown:
        notes.append(
            f"it names {len(unknown)} that were not sent, the first: {_one_line(masked(unknown[0][:_LONGEST_READ_CHARS]))}"
        )
    if named.unreadable:
        notes.append(f"{named.unreadable} of its entries name no uuid")
    return notes


def _one_line(text: str) -> str:
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= _LONGEST_QUOTE_CHARS else line[: _LONGEST_QUOTE_CHARS - 1] + "…"
