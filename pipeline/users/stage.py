"""One partition of the directory: what its rows become, and what other partitions are told, for each update.

Users and identifiers lie on partitions of their own, so what concerns several goes as further updates through the same topic.
Each step may be done twice and leaves the same, and ranks (:func:`pipeline.users.model.outranks`) decide, not arrival: so
the partitions agree in the end whatever the order between them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

import msgspec

from pipeline.model.placement import partition_of
from pipeline.users.entries import Entry, link_entry, no_entry, user_entry
from pipeline.users.identifiers import By, is_anonymous, key_of_anonymous, user_id_of
from pipeline.users.merge import absorb, merge, without
from pipeline.users.model import Link, User, outranks
from pipeline.users.rows import (
    Grave,
    Proof,
    Row,
    decode_row,
    encode_row,
    grave_key,
    link_key,
    proof_key,
    proof_of,
    user_key,
)
from pipeline.users.updates import (
    Absorb,
    Claim,
    DeleteUser,
    Leave,
    Linked,
    Release,
    Released,
    Seen,
    Sighting,
    TrackUser,
    Update,
    encode_update,
)

MOST_HOPS: Final = 8
"""How often an update without a user id is sent on before it is taken for one of a user that is gone."""
GRAVE_LASTS_US: Final = 8 * 86400 * 1_000_000
"""How long events from before a deletion are known for what they are: longer than topics are kept."""


class Writes(NamedTuple):
    """What follows from the updates since the last :meth:`UserStage.take`.

    ``rows`` are to be stored, after ``sent`` (by partition) is acknowledged; then ``entries`` are due in the index.
    """

    rows: list[Row]
    sent: dict[int, list[bytes]]
    entries: list[Entry]
    counts: Counter[str]


class UserStage:
    """Applies updates to the rows of one partition.

    ``read`` reads a row that is stored; ``tags`` are the names that are known; ``has_graves`` says whether there are any.
    """

    def __init__(
        self, read: Callable[[bytes], bytes | None], partitions: int, tags: Collection[str], *, has_graves: bool = True
    ) -> None:
        self._read = read
        self._has_graves = has_graves
        self._partitions = partitions
        self._tags = frozenset(tags)
        self._unstored: dict[bytes, tuple[bytes | None, int]] = {}
        self._writes_taken = 0
        self._changed: dict[bytes, bytes | None] = {}
        self.changed_bytes = 0
        self._sent: defaultdict[int, list[bytes]] = defaultdict(list)
        self._entries: list[Entry] = []
        self._counts: Counter[str] = Counter()

    # reading

    def user(self, application: str, key: str) -> User | None:
        """The user with this key, if it lies here."""
        value = self._get(user_key(application, key))
        return None if value is None else decode_row(User, value)

    def link(self, application: str, by: By, value: str) -> Link | None:
        """Whom an identifier names, if it lies here."""
        found = self._get(link_key(application, by, value))
        return None if found is None else decode_row(Link, found)

    # applying

    def apply(self, update: Update, now_us: int) -> None:
        """Apply one update."""
        match update:
            case TrackUser() | Seen():
                self._see(update)
            case Claim():
                self._claim(update)
            case Leave():
                self._leave(update)
            case Linked():
                self._linked(update)
            case Absorb():
                self._absorb(update)
            case Release():
                self._release(update)
            case Released():
                self._released(update)
            case DeleteUser():
                self._delete(update, now_us)

    def take(self) -> Writes:
        """What follows; :meth:`stored` is to be called once its rows are."""
        self._writes_taken += 1
        for key, value in self._changed.items():
            self._unstored[key] = (value, self._writes_taken)
        writes = Writes(list(self._changed.items()), dict(self._sent), self._entries, self._counts)
        self._changed, self._entries, self._counts = {}, [], Counter()
        self.changed_bytes = 0
        self._sent = defaultdict(list)
        return writes

    def stored(self, writes: Writes) -> None:
        """Read these rows from the table from now on."""
        for key, value in writes.rows:
            held = self._unstored.get(key)
            if held is not None and held[0] is value:
                del self._unstored[key]

    def keep_proof(self, proof: Proof) -> None:
        """A deletion's proof has changed."""
        self._put(proof_key(proof.request_id), encode_row(proof))

    def forget(self, key: bytes) -> None:
        """Remove a proof or a grave whose time is over."""
        self._changed[key] = None

    # sightings

    def _see(self, update: Sighting) -> None:
        key = update.key or update.own_key
        grave_us = self._grave_us(update.application, key)
        if isinstance(update, Seen) and update.at_us <= grave_us:
            self._counts["before deletion"] += 1
            return
        if update.at_us <= grave_us:  # it was accepted after the deletion, by a clock that is behind
            update = msgspec.structs.replace(update, at_us=grave_us + 1)
        is_lost = update.hops >= MOST_HOPS
        by, value = update.anchor
        if is_anonymous(key) and not is_lost:
            owner = self._owner_of(update.application, key)
            if owner is not None:
                self._forward(update, owner)
                return
        user = self.user(update.application, key)
        if key != update.own_key and (user is None or user.held_since(by, value) is None):
            self._forward(update, "")  # it was sent on to whom the identifier does not name any more
            return
        merged = merge(user, update, key, self._tags)
        if merged.user is not user:
            self._put_user(merged.user)
        gained = merged.gained
        if key == key_of_anonymous(value) and (is_lost or self.link(update.application, by, value) is None):
            gained = [each for each in gained if each != (by, value)]
            self._put_link(update.application, by, value, Link(key, update.at_us, update.device.platform))
        self._tell(merged.user, gained, merged.lost, update.at_us)
        self._counts["tracked" if isinstance(update, TrackUser) else "seen"] += 1

    def _owner_of(self, application: str, anonymous: str) -> str | None:
        """Whom the identifier of an anonymous user names, where that is somebody else by now."""
        value = anonymous.removeprefix(key_of_anonymous(""))
        links = (self.link(application, by, value) for by in (By.HWID, By.EMAIL, By.PHONE))
        return next((link.owner for link in links if link is not None and link.owner != anonymous), None)

    def _forward(self, update: Sighting, owner: str) -> None:
        self._send(msgspec.structs.replace(update, key=owner, hops=update.hops + 1))

    def _tell(self, user: User, gained: Sequence[tuple[By, str]], lost: Sequence[tuple[By, str]], at_us: int) -> None:
        for by, value in gained:
            self._send(self._claim_of(user, by, value))
        for by, value in lost:
            self._send(Release(application=user.application, by=by, value=value, owner=user.key, at_us=at_us))

    def _claim_of(self, user: User, by: By, value: str) -> Claim:
        device = user.devices.get(value) if by is By.HWID else None
        return Claim(
            application=user.application,
            by=by,
            value=value,
            owner=user.key,
            at_us=user.held_since(by, value) or user.updated_at_us,
            platform=None if device is None else device.platform,
        )

    def _grave_us(self, application: str, key: str) -> int:
        """When the user with this key, or the one whom this identifier named, was deleted; -1 for never."""
        if not self._has_graves:
            return -1
        value = self._get(grave_key(application, key))
        return -1 if value is None else decode_row(Grave, value).at_us

    # identifiers

    def _claim(self, update: Claim) -> None:
        application, by, value, owner = update.application, update.by, update.value, update.owner
        link = self.link(application, by, value)
        if link is None or link.owner == owner:
            is_newer = link is None or update.at_us >= link.at_us
            platform = update.platform if is_newer or link is None else link.platform
            at_us = update.at_us if link is None else max(update.at_us, link.at_us)
            self._put_link(application, by, value, Link(owner, at_us, platform or (link and link.platform) or None))
            self._send(Linked(application=application, key=owner, by=by, value=value))
            return
        if outranks(owner, update.at_us, link.owner, link.at_us):
            self._put_link(application, by, value, Link(owner, update.at_us, update.platform or link.platform))
            self._send(Linked(application=application, key=owner, by=by, value=value))
            self._evict(update, link.owner, owner, update.at_us)
        else:
            self._evict(update, owner, link.owner, link.at_us)

    def _evict(self, update: Claim, loser: str, winner: str, at_us: int) -> None:
        application, by, value = update.application, update.by, update.value
        if loser == key_of_anonymous(value):
            record = self.user(application, loser)
            if record is not None:
                self._remove_user(record, record.updated_at_us)
                self._send(Absorb(application=application, key=winner, at_us=at_us, user=record, is_whole=True))
                self._counts["joined"] += 1
                return
        self._send(Leave(application=application, key=loser, by=by, value=value, owner=winner, at_us=at_us))
        self._counts["moved"] += 1

    def _linked(self, update: Linked) -> None:
        user = self.user(update.application, update.key)
        if user is None or user.held_since(update.by, update.value) is None:
            release = Release(
                application=update.application, by=update.by, value=update.value, owner=update.key, at_us=0
            )
            self._send(release)

    def _leave(self, update: Leave) -> None:
        user = self.user(update.application, update.key)
        since_us = None if user is None else user.held_since(update.by, update.value)
        if user is None or since_us is None:
            return
        if outranks(user.key, since_us, update.owner, update.at_us):
            self._send(self._claim_of(user, update.by, update.value))
            return
        self._put_user(without(user, update.by, update.value))
        device = user.devices.get(update.value) if update.by is By.HWID else None
        if device is not None:
            moved = User(
                application=user.application,
                key=user.key,
                devices={update.value: device},
                created_at_us=update.at_us,
                updated_at_us=update.at_us,
            )
            moving = Absorb(
                application=user.application, key=update.owner, at_us=update.at_us, user=moved, is_whole=False
            )
            self._send(moving)

    def _absorb(self, update: Absorb) -> None:
        user, other = self.user(update.application, update.key), update.user
        lost = other.identifiers() if update.is_whole else []
        was_deleted = update.at_us <= self._grave_us(update.application, update.key)
        if (
            user is None or was_deleted
        ):  # and what would have been part of it with it, also where somebody new has the key
            self._tell(other, [], lost, other.updated_at_us)
            return
        merged = absorb(user, other, self._tags, is_whole=update.is_whole)
        if merged.user != user:
            self._put_user(merged.user)
        self._tell(merged.user, merged.gained, [], user.updated_at_us)
        self._tell(other, [], [each for each in lost if merged.user.held_since(*each) is None], other.updated_at_us)

    # removing

    def _release(self, update: Release) -> None:
        application, by, value = update.application, update.by, update.value
        link = self.link(application, by, value)
        # Of an anonymous user who is gone another may have taken the place, and the key, since.
        is_outdated = link is not None and not update.request_id and 0 < update.at_us < link.at_us
        if link is not None and link.owner == update.owner and not is_outdated:
            self._changed[link_key(application, by, value)] = None
            self._entries.append(no_entry(application, by, value, self._partitions, max(link.at_us, update.at_us)))
        if not update.request_id:
            return
        self._bury(application, key_of_anonymous(value), update.at_us)
        proof = proof_of(update.request_id, application, by, value)
        self._send(Released(application=application, key=update.owner, request_id=update.request_id, proof=proof))

    def _delete(self, update: DeleteUser, now_us: int) -> None:
        application, key, request_id = update.application, update.key, update.request_id
        # One that is read a second time is done again, as what stood before it was: but it was proved the first time.
        is_proved = self._get(proof_key(request_id)) is not None
        user = self.user(application, key)
        at_us = max(update.at_us, 0 if user is None else user.updated_at_us)
        linked = [] if user is None else user.identifiers()
        if not is_proved:
            self.keep_proof(self._proof_of(update, user, now_us))
        self._changed[user_key(application, key)] = None
        self._entries.append(no_entry(application, "key", key, self._partitions, at_us))
        self._bury(application, key, at_us)
        for by, value in linked:
            self._send(
                Release(application=application, by=by, value=value, owner=key, at_us=at_us, request_id=request_id)
            )
        if not is_proved:
            self._counts["deleted" if user is not None else "nobody to delete"] += 1

    def _proof_of(self, update: DeleteUser, user: User | None, now_us: int) -> Proof:
        application, request_id = update.application, update.request_id
        linked = [] if user is None else user.identifiers()
        waiting = [proof_of(request_id, application, by, value) for by, value in linked]
        user_id = user_id_of(update.key)
        own = [] if user_id is None else [proof_of(request_id, application, By.USER_ID, user_id)]
        return Proof(
            application=application,
            request_id=request_id,
            actor=update.actor,
            asked_at_us=update.at_us,
            removed_at_us=now_us,
            was_known=user is not None,
            identifiers=[*own, *waiting],
            waiting=waiting,
            devices=0 if user is None else len(user.devices),
            tags=0 if user is None else len(user.tags) + len(user.other_tags),
        )

    def _released(self, update: Released) -> None:
        value = self._get(proof_key(update.request_id))
        if value is None:
            return
        proof = decode_row(Proof, value)
        if update.proof in proof.waiting:
            waiting = [each for each in proof.waiting if each != update.proof]
            self.keep_proof(msgspec.structs.replace(proof, waiting=waiting))

    def _bury(self, application: str, key: str, at_us: int) -> None:
        self._has_graves = True
        self._put(grave_key(application, key), encode_row(Grave(at_us)))

    # writing

    def _get(self, key: bytes) -> bytes | None:
        if key in self._changed:
            return self._changed[key]
        held = self._unstored.get(key)
        return self._read(key) if held is None else held[0]

    def _put(self, key: bytes, value: bytes) -> None:
        self._changed[key] = value
        self.changed_bytes += len(key) + len(value)

    def _put_user(self, user: User) -> None:
        self._put(user_key(user.application, user.key), encode_row(user))
        self._entries.append(user_entry(user, self._partitions))

    def _remove_user(self, user: User, at_us: int) -> None:
        self._changed[user_key(user.application, user.key)] = None
        self._entries.append(no_entry(user.application, "key", user.key, self._partitions, at_us))

    def _put_link(self, application: str, by: By, value: str, link: Link) -> None:
        self._put(link_key(application, by, value), encode_row(link))
        self._entries.append(link_entry(application, by, value, link, self._partitions))

    def _send(self, update: Update) -> None:
        self._sent[partition_of(update.place, self._partitions)].append(encode_update(update))
