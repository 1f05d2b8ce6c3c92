"""The directory of users without Kafka: partitions that tell each other updates, delivered in any order between them."""

import random
from collections import defaultdict, deque
from typing import Any

from pipeline.model.placement import partition_of
from pipeline.users.rows import LINKS, USERS, Link, User, decode_row, link_of_key
from pipeline.users.stage import UserStage
from pipeline.users.updates import Update, decode_update, encode_update

PARTITIONS = 4
OUTSIDE = -1
NOW_US = 10**15


class Partitions:
    """``seed`` decides which partition goes on next; what one tells another arrives in order, as Kafka has it."""

    def __init__(self, seed: int = 0, tags: tuple[str, ...] = ("City",)) -> None:
        self._random = random.Random(seed)
        self.tables: list[dict[bytes, bytes]] = [{} for _ in range(PARTITIONS)]
        self.tags = tags
        self.stages = [self._new_stage(number) for number in range(PARTITIONS)]
        self._on_the_way: defaultdict[tuple[int, int], deque[bytes]] = defaultdict(deque)
        self._logs: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        self._next = [0] * PARTITIONS
        self._committed = [0] * PARTITIONS
        self.told = 0

    def _new_stage(self, number: int) -> UserStage:
        return UserStage(self.tables[number].get, PARTITIONS, self.tags)

    def tell(self, *updates: Update) -> None:
        """From outside; all from one who waits for each to be taken."""
        for update in updates:
            self._on_the_way[OUTSIDE, partition_of(update.place, PARTITIONS)].append(encode_update(update))

    def settle(self, *, dies: float = 0.0, most: int = 100_000) -> None:
        """Until nothing is on the way. ``dies`` is how likely it is, each time, that a partition dies instead of going on.

        One that dies has sent its follow-ups and stored nothing of the update at hand, and goes on where it committed last.
        """
        while steps := self._steps():
            kind, which = self._random.choice(steps)
            if kind == "arrive":
                self._logs[which[1]].append(self._on_the_way[which].popleft())
            elif self._random.random() < dies:
                self._handle(which, is_stored=False)
                self._next[which] = self._committed[which]
            else:
                self._handle(which, is_stored=True)
                self._next[which] += 1
                if self._random.random() < 0.3:
                    self._committed[which] = self._next[which]
            most -= 1
            assert most, "the partitions do not come to rest"
        self._committed = list(self._next)

    def _steps(self) -> list[tuple[str, Any]]:
        arriving = [("arrive", lane) for lane, waiting in self._on_the_way.items() if waiting]
        return arriving + [("handle", each) for each in range(PARTITIONS) if self._next[each] < len(self._logs[each])]

    def _handle(self, number: int, *, is_stored: bool) -> None:
        stage = self.stages[number]
        self.told += 1
        stage.apply(decode_update(self._logs[number][self._next[number]]), NOW_US)
        writes = stage.take()
        for target, updates in writes.sent.items():
            self._on_the_way[number, target].extend(updates)
        if not is_stored:
            self.stages[number] = self._new_stage(number)
            return
        for key, row in writes.rows:
            if row is None:
                self.tables[number].pop(key, None)
            else:
                self.tables[number][key] = row
        stage.stored(writes)

    def users(self) -> list[User]:
        """All that are known."""
        return [
            decode_row(User, value) for table in self.tables for key, value in table.items() if key.startswith(USERS)
        ]

    def user(self, key: str) -> User:
        """The one with this key."""
        [found] = [user for user in self.users() if user.key == key]
        return found

    def links(self) -> dict[tuple[str, str], Link]:
        """Whom each identifier names."""
        found = {}
        for table in self.tables:
            for key, value in table.items():
                if key.startswith(LINKS):
                    _, by, name = link_of_key(key)
                    found[by, name] = decode_row(Link, value)
        return found

    def check(self) -> None:
        """What must hold at rest: each identifier names one user, who has it, and nobody else has it."""
        holders = defaultdict(list)
        for user in self.users():
            for identifier in user.identifiers():
                holders[identifier].append(user.key)
        assert {name: [link.owner] for name, link in self.links().items()} == dict(holders)
