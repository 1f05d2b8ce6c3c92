"""What becomes of a user when something is learned: pure, and the same in whatever order sightings arrive.

An identifier's newest sighting decides, so sightings may come late or twice. Attributes have no time of their own: the
order in which they were accepted, which is that of the user's partition, decides.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from pipeline.users.identifiers import By
from pipeline.users.model import (
    MOST_DEVICES,
    MOST_OTHER_TAGS,
    MOST_TAG_CHARACTERS,
    MOST_TAG_NAME_CHARACTERS,
    Device,
    User,
)
from pipeline.users.updates import Sighting, TrackUser

SEEN_EVERY_US: Final = 3600 * 1_000_000
"""How much newer a sighting must be for it alone to be worth a write."""

_encode: Final = msgspec.json.Encoder().encode
_FACTS: Final = tuple(name for name in Device.__struct_fields__ if name != "seen_at_us")


class Merged(NamedTuple):
    """A user after a sighting, and the identifiers that are new to, or no longer, the user's."""

    user: User
    gained: list[tuple[By, str]]
    lost: list[tuple[By, str]]


def merge(user: User | None, update: Sighting, key: str, tags: Collection[str]) -> Merged:
    """Apply a sighting to the user with ``key``; ``tags`` are the names that are known. Gives ``user`` where nothing changed."""
    at_us = update.at_us
    before = user or User(application=update.application, key=key, created_at_us=at_us, updated_at_us=at_us)
    changes: dict[str, Any] = {}
    gained: list[tuple[By, str]] = []
    lost: list[tuple[By, str]] = []
    if update.user_id and before.user_id is None:
        changes["user_id"] = update.user_id
    if update.hwid:
        devices = _with_device(before.devices, update.hwid, update.device, at_us, is_told=isinstance(update, TrackUser))
        if devices is not before.devices:
            changes["devices"] = devices
            gained += [(By.HWID, hwid) for hwid in devices if hwid not in before.devices]
            lost += [(By.HWID, hwid) for hwid in before.devices if hwid not in devices]
    for by in (By.EMAIL, By.PHONE):
        changes |= _with_address(before, by, update, gained, lost)
    if update.attributes:
        changes |= _sorted({**before.tags, **before.other_tags}, update.attributes, tags)
    if isinstance(update, TrackUser) and at_us > before.updated_at_us:
        changes["updated_at_us"] = at_us  # the index shows it under this time already
    if at_us < before.created_at_us:
        changes["created_at_us"] = at_us
    if user is not None and not changes:
        return Merged(user, [], [])
    changes["updated_at_us"] = max(before.updated_at_us, at_us)
    return Merged(msgspec.structs.replace(before, **changes), gained, lost)


def absorb(user: User, other: User, tags: Collection[str], *, is_whole: bool) -> Merged:
    """Give ``user`` what another record held and this one lacks; devices only where it is the whole record that joins.

    What comes over counts as seen a moment later, so that it outranks what the other record claimed.
    """
    changes: dict[str, Any] = {}
    gained: list[tuple[By, str]] = []
    devices = dict(user.devices)
    for hwid, device in other.devices.items():
        if hwid in devices:
            devices[hwid] = _with_facts(devices[hwid], device, is_newer=False)
        elif is_whole:
            devices[hwid] = msgspec.structs.replace(device, seen_at_us=device.seen_at_us + 1)
            gained.append((By.HWID, hwid))
    for by in (By.EMAIL, By.PHONE):
        value = getattr(other, by)
        if value and not getattr(user, by):
            changes |= {by.value: value, f"{by}_at_us": getattr(other, f"{by}_at_us") + 1}
            gained.append((by, value))
    changes |= _sorted({**other.tags, **other.other_tags, **user.tags, **user.other_tags}, {}, tags)
    changes |= {"devices": devices, "created_at_us": min(user.created_at_us, other.created_at_us)}
    return Merged(msgspec.structs.replace(user, **changes), gained, [])


def without(user: User, by: By, value: str) -> User:
    """The user without one identifier."""
    if by is By.HWID:
        return msgspec.structs.replace(
            user, devices={hwid: each for hwid, each in user.devices.items() if hwid != value}
        )
    return msgspec.structs.replace(user, **{by.value: None})


def _with_address(
    before: User, by: By, update: Sighting, gained: list[tuple[By, str]], lost: list[tuple[By, str]]
) -> dict[str, Any]:
    """What an email address or a phone number changes."""
    value, held, since_us = getattr(update, by), getattr(before, by), getattr(before, f"{by}_at_us")
    newer_us = update.at_us - since_us
    if not value or newer_us < 0 or (newer_us == 0 and value <= (held or "")):
        return {}
    if value == held and not isinstance(update, TrackUser) and newer_us < SEEN_EVERY_US:
        return {}
    if value != held:
        gained.append((by, value))
        if held:
            lost.append((by, held))
    return {by.value: value, f"{by}_at_us": update.at_us}


def _with_device(
    devices: dict[str, Device], hwid: str, facts: Device, at_us: int, *, is_told: bool
) -> dict[str, Device]:
    held = devices.get(hwid)
    if held is None:
        found = {**devices, hwid: msgspec.structs.replace(facts, seen_at_us=at_us)}
        if len(found) > MOST_DEVICES:
            del found[min(found, key=lambda each: (found[each].seen_at_us, each))]
        return found
    known = _with_facts(held, facts, is_newer=at_us >= held.seen_at_us)
    newer_us = at_us - held.seen_at_us
    if known != held or newer_us >= SEEN_EVERY_US or (is_told and newer_us > 0):
        return {**devices, hwid: msgspec.structs.replace(known, seen_at_us=max(at_us, held.seen_at_us))}
    return devices


def _with_facts(device: Device, facts: Device, *, is_newer: bool) -> Device:
    changes = {
        name: value
        for name in _FACTS
        if (value := getattr(facts, name)) is not None and (is_newer or getattr(device, name) is None)
    }
    return msgspec.structs.replace(device, **changes) if changes else device


def _sorted(held: Mapping[str, Any], given: Mapping[str, Any], tags: Collection[str]) -> dict[str, Any]:
    """Both kinds of tags: those of ``held`` with ``given`` in their place, sorted by whether their names are known now."""
    taken = {name: value for name, value in given.items() if _fits(name, value)}
    every = {name: value for name, value in {**held, **taken}.items() if value is not None}
    other = {name: value for name, value in every.items() if name not in tags}
    if len(other) > MOST_OTHER_TAGS:
        other = dict(list(other.items())[:MOST_OTHER_TAGS])
    return {"tags": {name: value for name, value in every.items() if name in tags}, "other_tags": other}


def _fits(name: str, value: Any) -> bool:
    if not 0 < len(name) <= MOST_TAG_NAME_CHARACTERS:
        return False
    if isinstance(value, str):
        return len(value) <= MOST_TAG_CHARACTERS
    return not isinstance(value, list | dict) or len(_encode(value)) <= MOST_TAG_CHARACTERS
