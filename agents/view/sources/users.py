"""Sources ``users`` and ``user_links``: the directory of users as table ``users`` holds it, of the partitions that are owned.

One user, or whom one identifier names, is read by its key. Any other question reads all users of each worker, in turns and for
a limited time; the answer says where that was not enough.
"""

import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

import msgspec

from agents.engine import ChunkTable
from agents.view.sources.ledger import names_of
from agents.view.sources.state import WorkerState
from pipeline.errors import CodecError, UnavailableError
from pipeline.users.identifiers import By, digest
from pipeline.users.model import Device, Link, User
from pipeline.users.rows import LINKS, USERS, decode_row, link_key, user_key
from pipeline.view.apply import matcher
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.formats.pace import Turns
from pipeline.view.mask import mask_row, mask_value, masked_query
from pipeline.view.query import Query
from pipeline.view.selecting import Selecting, SortedRuns
from pipeline.view.source import Answer, answer_of

BUDGET_S: Final = 0.6
"""How long one worker looks through its users for a page."""
MICROSECONDS: Final = 1e6

_PERSONAL_OF_DEVICES: Final = {
    "hwid": Personal.HWID,
    "token": Personal.HWID,
    "city": Personal.PAYLOAD,
    "latitude": Personal.PAYLOAD,
    "longitude": Personal.PAYLOAD,
    "user_agent": Personal.PAYLOAD,
}


class UsersSource:
    """All users."""

    name = "users"
    columns: Columns = (
        Column("key", "User", Kind.CODE, "The user's key: the user id, or @ and another identifier where none is known.", link="/users/{application}/{key}", personal=Personal.USER_ID),
        Column("application", "Application", Kind.CODE, "Whose user it is."),
        Column("email", "Email", Kind.CODE, "The address seen last.", personal=Personal.EMAIL),
        Column("phone", "Phone", Kind.CODE, "The number seen last.", personal=Personal.PHONE),
        Column("device_count", "Devices", Kind.INTEGER, "How many are known."),
        Column("tag_count", "Tags", Kind.INTEGER, "Attributes whose names are known."),
        Column("other_tag_count", "Kept apart", Kind.INTEGER, "Attributes that are no known tags."),
        Column("updated_at", "Updated", Kind.TIME, "When something of it was seen last."),
        Column("created_at", "Since", Kind.TIME, "When it was seen first.", is_wide=True),
        Column("is_anonymous", "Anonymous", Kind.FLAG, "Whether no user id is known.", is_wide=True),
        Column("user_id", "User ID", Kind.CODE, "None of an anonymous user.", is_wide=True, personal=Personal.USER_ID),
        Column("hwid", "HWID", Kind.CODE, "The device seen last.", is_wide=True, personal=Personal.HWID),
        Column("platform", "Platform", Kind.STATE, "Of the device seen last.", is_wide=True),
        Column("tags", "Known tags", Kind.JSON, is_sortable=False, is_wide=True, personal=Personal.PAYLOAD),
        Column("other_tags", "Other attributes", Kind.JSON, is_sortable=False, is_wide=True, personal=Personal.PAYLOAD),
        Column("devices", "All devices", Kind.JSON, "What is known of each.", is_sortable=False, is_wide=True),
        Column("id", "Id", Kind.CODE, "Stands for application and key, and shows neither.", is_wide=True),
    )  # fmt: skip
    key = "id"
    sort = "updated_at"
    is_descending = True

    def __init__(self, state: WorkerState, table: ChunkTable, *, budget_s: float = BUDGET_S) -> None:
        self._state = state
        self._table = table
        self._budget_s = budget_s

    def partitions(self) -> frozenset[int]:
        """Those that are owned."""
        return frozenset(tp.partition for tp in self._table.changelog_partitions())

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find users of this worker."""
        asked = masked_query(query, self.columns, masks)
        named = self._named(query) if not masks else None
        if named is not None:
            return answer_of(named, query, self.columns, masks)
        if query.limit is None:
            return Answer(self._export(asked, masks))
        selecting = Selecting(asked, self.columns)
        until_s, is_truncated = time.monotonic() + self._budget_s, False
        turns = Turns()
        for row in self._rows(masks):
            selecting.add(row)
            await turns.pause()
            if time.monotonic() > until_s:
                is_truncated = True
                break
        found = selecting.result()
        return Answer(found.rows, found.has_more, None if is_truncated else found.matching, found.facets, is_truncated)

    async def _export(self, query: Query, masks: frozenset[Personal]) -> AsyncGenerator[Row]:
        runs, turns = SortedRuns(query), Turns()
        matches = matcher(query, self.columns)
        try:
            for row in self._rows(masks):
                if matches(row):
                    runs.add(row)
                await turns.pause()
            async for row in runs.rows():
                yield row
        finally:
            runs.close()

    def _named(self, query: Query) -> list[Row] | None:
        """The users whose application and key the query names; ``None`` where it names none."""
        applications, keys = names_of(query, "application"), names_of(query, "key")
        if applications is None or keys is None:
            return None
        rows: list[Row] = []
        for partition in sorted(self.partitions()):
            for stored in (user_key(application, key) for application in applications for key in keys):
                value = self._table.get(partition, stored)
                row = None if value is None else self._row(value, frozenset())
                if row is not None:
                    rows.append(row)
        return rows

    def _rows(self, masks: frozenset[Personal]) -> Iterator[Row]:
        """All users, masked."""
        generation = self._state.peers.generation
        for partition in sorted(self.partitions()):
            for key, value in self._table.rows_from(partition, USERS):
                if not key.startswith(USERS):
                    break
                if generation != self._state.peers.generation:
                    raise UnavailableError("partitions moved while it read")
                row = self._row(value, masks)
                if row is not None:
                    yield mask_row(self.columns, row, masks)

    @staticmethod
    def _row(value: bytes, masks: frozenset[Personal]) -> Row | None:
        try:
            return user_row(decode_row(User, value), masks)
        except CodecError:
            return None  # of another version: the page of the table itself shows it


class UserLinksSource:
    """Whom an identifier names: asked with application, kind and value, all of them."""

    name = "user_links"
    columns: Columns = (
        Column("application", "Application", Kind.CODE),
        Column("by", "Kind", Kind.STATE, "email, phone or hwid."),
        Column("value", "Identifier", Kind.CODE, personal=Personal.USER_ID),
        Column("key", "User", Kind.CODE, "The key of the user whom it names.", personal=Personal.USER_ID),
        Column("at", "Seen", Kind.TIME, "When it was seen last with this user."),
        Column("id", "Id", Kind.CODE),
    )
    key = "id"
    sort = "id"
    is_descending = False

    def __init__(self, table: ChunkTable) -> None:
        self._table = table

    def partitions(self) -> frozenset[int]:
        """Those that are owned."""
        return frozenset(tp.partition for tp in self._table.changelog_partitions())

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find them; without all three there is nothing to find."""
        rows: list[Row] = []
        for application in names_of(query, "application") or ():
            for kind in names_of(query, "by") or ():
                for value in names_of(query, "value") or ():
                    rows += self._links(application, kind, value)
        return answer_of(rows, query, self.columns, masks)

    def _links(self, application: str, kind: str, value: str) -> Iterator[Row]:
        if kind not in set(By):
            return
        stored = link_key(application, By(kind), value)
        for partition in sorted(self.partitions()):
            found = self._table.get(partition, stored)
            if found is not None:
                link = decode_row(Link, found)
                yield {
                    "application": application,
                    "by": kind,
                    "value": value,
                    "key": link.owner,
                    "at": link.at_us / MICROSECONDS,
                    "id": stored.removeprefix(LINKS).hex(),
                }


def user_row(user: User, masks: frozenset[Personal]) -> Row:
    """A user as a row; masked already is what is personal inside of ``devices``, and the key where it is any identifier."""
    newest = user.newest_device
    devices = sorted(user.devices.items(), key=lambda item: (-item[1].seen_at_us, item[0]))
    return {
        "key": mask_value(Personal.USER_ID, user.key) if masks and user.is_anonymous else user.key,
        "application": user.application,
        "email": user.email,
        "phone": user.phone,
        "device_count": len(user.devices),
        "tag_count": len(user.tags),
        "other_tag_count": len(user.other_tags),
        "updated_at": user.updated_at_us / MICROSECONDS,
        "created_at": user.created_at_us / MICROSECONDS,
        "is_anonymous": user.is_anonymous,
        "user_id": user.user_id,
        "hwid": None if newest is None else newest[0],
        "platform": None if newest is None else newest[1].platform,
        "tags": user.tags or None,
        "other_tags": user.other_tags or None,
        "devices": [device_row(hwid, device, masks) for hwid, device in devices] or None,
        "id": digest(user.application, "key", user.key).hex(),
    }


def device_row(hwid: str, device: Device, masks: frozenset[Personal]) -> Row:
    """A device, masked."""
    told: dict[str, Any] = {"hwid": hwid, **msgspec.structs.asdict(device)}
    told["seen_at"] = told.pop("seen_at_us") / MICROSECONDS
    return {
        name: mask_value(_PERSONAL_OF_DEVICES[name], value)
        if name in _PERSONAL_OF_DEVICES and _PERSONAL_OF_DEVICES[name] in masks
        else value
        for name, value in told.items()
    }
