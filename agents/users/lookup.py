"""Who a user is, asked and told by requests on any worker."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from agents.engine import ChunkApp
from agents.owed import Owed
from agents.users.keeper import IndexKeeper
from agents.users.topology import UserFlow
from pipeline.clock import Clock
from pipeline.errors import DistributaryError, UnavailableError, UsersUnavailableError
from pipeline.integrations.audit import Actor
from pipeline.model.placement import partition_of
from pipeline.users.entries import (
    decode_link_body,
    decode_user_body,
    entries_of,
    no_entry,
    place_of_link_entry,
    place_of_user_entry,
)
from pipeline.users.identifiers import (
    By,
    is_anonymous,
    key_of_user,
    normalized,
    place_of_identifier,
    place_of_user,
)
from pipeline.users.index import UserIndex
from pipeline.users.model import Link, User
from pipeline.users.rows import decode_row, link_key, user_key
from pipeline.users.updates import DeleteUser, Seen, TrackUser, Update, encode_update

__all__ = ["Deletion", "Found", "UpdateTooLargeError", "Users", "UsersUnavailableError"]

ACKNOWLEDGED_WITHIN_S: Final = 5.0
LARGEST_UPDATE_BYTES: Final = 8 << 20
"""What may be told of a user at once: well below what a record may hold, as one that does not fit would end the worker."""
READ_WITHIN_S: Final = 5.0
READ_PATH: Final = "users/read"


class UpdateTooLargeError(DistributaryError):
    """More is told of a user at once than ``LARGEST_UPDATE_BYTES``; telling it again does not help."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            f"what is told of the user has {size_bytes} bytes, and at most {LARGEST_UPDATE_BYTES} are taken"
        )


class Found(NamedTuple):
    """A user as a request needs it: ``hwid`` is the device asked for, or the one seen last, ``platform`` is its."""

    user_key: str
    user_id: str | None
    hwid: str | None
    platform: str | None
    email: str | None


class Deletion(NamedTuple):
    """A deletion that was accepted; ``request_id`` finds its proof in the audit log."""

    request_id: str
    user_key: str


class Owners(Protocol):
    """How the owner of a partition is asked; ``agents.view.peers.Peers`` is one."""

    def owner_of(self, partition: int) -> str | None: ...

    async def call(self, worker_url: str, path: str, body: bytes, timeout_s: float) -> bytes: ...

    def serve(self, path: str, handler: Callable[[bytes], Awaitable[bytes]]) -> None: ...


class _Asked(msgspec.Struct, frozen=True):
    """A row that is asked for: a user's (``by`` is empty) or a link's."""

    partition: int
    application: str
    by: str
    value: str


class Users:
    """The directory as a worker's requests see it. Opened once the topics exist, on the worker's event loop."""

    def __init__(
        self,
        app: ChunkApp,
        flow: UserFlow,
        clock: Clock,
        *,
        partitions: int,
        index: UserIndex,
        keeper: IndexKeeper,
    ) -> None:
        self._app = app
        self._flow = flow
        self._table = flow.table
        self._topic = flow.updates.get_topic_name()
        self._partitions = partitions
        self._clock = clock
        self._index = index
        self.keeper = keeper
        self.owed = Owed()
        """What Kafka has not acknowledged in time; whoever else takes requests counts here too."""
        self._peers: Owners | None = None

    def ask_by(self, peers: Owners) -> None:
        """Reach the owners of other partitions through ``peers``, and answer for the own ones; before the worker starts."""
        self._peers = peers
        peers.serve(READ_PATH, self._answer_read)

    async def open(self) -> None:
        """Create the topic, and begin to keep the index."""
        await self._flow.updates.maybe_declare()
        await self.keeper.open()

    async def close(self) -> None:
        """Let go of the connections to Redis."""
        await self.keeper.close()
        await self._index.close()

    # looking up

    async def find(self, application: str, by: str, value: str) -> Found | None:
        """Whom ``value`` names in an application; ``None`` where certainly nobody.

        Raises ``UsersUnavailableError`` where Redis does not answer in time, or nobody is found in an index that is not complete.
        """
        kind = By(by)
        try:
            value = normalized(kind, value)
        except ValueError:
            return None
        if kind is By.USER_ID:
            place = place_of_user_entry(application, key_of_user(value), self._partitions)
        else:
            place = place_of_link_entry(application, kind, value, self._partitions)
        answer = await self._index.find(place, is_link=kind is not By.USER_ID)
        if answer is None:
            return None
        user = decode_user_body(answer.user)
        hwid, platform = user.h, user.p
        if kind is By.HWID:
            link = decode_link_body(answer.link or b"\x80")
            hwid, platform = value, link.p or (platform if hwid == value else None)
        return Found(user.k, user.u, hwid, platform, user.e)

    async def read(self, application: str, by: str, value: str) -> User | None:
        """All that the directory's table holds of whom ``value`` names; asks the partitions' owners, and no Redis.

        Raises ``UnavailableError`` where one of them does not answer.
        """
        kind = By(by)
        try:
            value = normalized(kind, value)
        except ValueError:
            return None
        if kind is By.USER_ID:
            return await self.read_key(application, key_of_user(value))
        partition = partition_of(place_of_identifier(application, value), self._partitions)
        row = await self._row(_Asked(partition, application, kind.value, value))
        return await self.read_key(application, decode_row(Link, row).owner) if row else None

    async def read_key(self, application: str, key: str) -> User | None:
        """The same, of the user with this key."""
        partition = partition_of(place_of_user(application, key), self._partitions)
        row = await self._row(_Asked(partition, application, "", key))
        return decode_row(User, row) if row else None

    async def _row(self, asked: _Asked) -> bytes:
        if self._owns(asked.partition):
            return self._stored(asked)
        owner = self._peers.owner_of(asked.partition) if self._peers is not None else None
        if self._peers is None or owner is None:
            raise UnavailableError("no worker keeps these users just now: partitions are being assigned; try again")
        return await self._peers.call(owner, READ_PATH, msgspec.json.encode(asked), READ_WITHIN_S)

    async def _answer_read(self, body: bytes) -> bytes:
        asked = msgspec.json.decode(body, type=_Asked)
        if not self._owns(asked.partition):
            raise UnavailableError("this worker does not keep these users, or is recovering; try again in a moment")
        return self._stored(asked)

    def _owns(self, partition: int) -> bool:
        app = self._app
        is_settled = not (app.should_stop or app.rebalancing) and app.tables.actives_ready
        return is_settled and self._table.claim_of(partition) is not None

    def _stored(self, asked: _Asked) -> bytes:
        if asked.by:
            key = link_key(asked.application, By(asked.by), asked.value)
        else:
            key = user_key(asked.application, asked.value)
        return self._table.get(asked.partition, key) or b""

    # telling

    async def track(self, update: TrackUser) -> str:
        """Take what somebody told of a user: once this returns, Kafka has it and every worker finds the user.

        Returns the user's key. Raises ``UsersUnavailableError`` where the caller should try again; the update may be taken by then,
        which does no harm; and ``UpdateTooLargeError``.
        """
        key = await self._key_of(update)
        # Straight to whom it is about, behind what was told of that user before.
        await self._send([update if key == update.own_key else msgspec.structs.replace(update, key=key)])
        await self._index.put_through(entries_of(update, key, self._partitions))
        return key

    async def _key_of(self, update: TrackUser) -> str:
        """Whom an update is about: an identifier may be known to name somebody with a user id."""
        by, value = update.anchor
        if not is_anonymous(update.own_key):
            return update.own_key
        found = await self.find(update.application, by, value)
        return update.own_key if found is None else found.user_key

    def learn(self, seen: Sequence[Seen]) -> "list[asyncio.Future[None]]":
        """Take what events named together; the futures are done when Kafka has it. The index follows soon."""
        by_partition: dict[int, list[bytes]] = {}
        for each in seen:
            by_partition.setdefault(partition_of(each.place, self._partitions), []).append(encode_update(each))
        return [
            self._app.outbox.send(self._topic, partition, [[(None, update)] for update in updates])
            for partition, updates in by_partition.items()
        ]

    async def delete(self, application: str, value: str, actor: Actor, *, by: str = "user_id") -> Deletion | None:
        """Remove a user everywhere; once this returns, Kafka has it and nobody finds the user any more.

        The rows follow within moments, and then the proof in the audit log, which holds hashes and no identifiers. ``None``
        where an identifier names nobody; what is not known under a user id is removed all the same, with a proof that says so.
        Raises ``UsersUnavailableError`` where the caller should try again.
        """
        kind = By(by)
        try:
            value = normalized(kind, value)
        except ValueError:
            return None
        if kind is By.USER_ID:
            key = key_of_user(value)
        else:
            found = await self.find(application, kind, value)
            if found is None:
                return None
            key = found.user_key
        return await self.delete_key(application, key, actor)

    async def delete_key(self, application: str, key: str, actor: Actor) -> Deletion:
        """The same, of the user with this key."""
        at_us = int(self._clock.wall_s() * 1e6)
        request_id = str(uuid.uuid4())
        update = DeleteUser(
            application=application,
            key=key,
            at_us=at_us,
            request_id=request_id,
            actor=(actor.name, actor.role, actor.address),
        )
        await self._send([update])
        await self._index.put_through([no_entry(application, "key", key, self._partitions, at_us)])
        return Deletion(request_id, key)

    async def _send(self, updates: Sequence[Update]) -> None:
        """Hand over and wait; nothing is handed over while Kafka owes what callers have stopped waiting for."""
        if self.owed.is_any:
            raise UsersUnavailableError("Kafka does not acknowledge what it is given; tell it again")
        records = [(partition_of(update.place, self._partitions), encode_update(update)) for update in updates]
        largest_bytes = max(len(record) for _, record in records)
        if largest_bytes > LARGEST_UPDATE_BYTES:
            raise UpdateTooLargeError(largest_bytes)
        sent: list[Any] = [
            self._app.outbox.send(self._topic, partition, [[(None, record)]]) for partition, record in records
        ]
        _, late = await asyncio.wait(sent, timeout=ACKNOWLEDGED_WITHIN_S)
        if late:
            self.owed.note([*late])
            raise UsersUnavailableError(
                f"Kafka has not taken what was told of a user within {ACKNOWLEDGED_WITHIN_S:g} s; tell it again"
            )
