"""The directory of users without Kafka: partitions that tell each other updates, delivered in any order between them."""

import random
from collections import defaultdict, deque

from pipeline.model.placement import partition_of
from pipeline.users.rows import LINKS, USERS, Link, User, decode_row, link_of_key
from pipeline.users.stage import UserStage
from pipeline.users.updates import Update, decode_update, encode_update

PARTITIONS = 4
OUTSIDE = -1


class Partitions:
    """``seed`` decides which partition goes on next; what one tells another arrives in order, as Kafka has it."""

    def __init__(self, seed: int = 0, tags: tuple[str, ...] = ("City",)) -> None:
        self._random = random.Random(seed)
        self.tables: list[dict[bytes, bytes]] = [{} for _ in range(PARTITIONS)]
        self.tags = tags
        self.stages = [self._new_stage(number) for number in range(PARTITIONS)]
        self._on_the_way: defaultdict[tuple[int, int], deque[bytes]] = defaultdict(deque)
        self.told = 0
        self.entries = []

    def _new_stage(self, number: int) -> UserStage:
        return UserStage(self.tables[number].get, PARTITIONS, self.tags)

    def tell(self, *updates: Update) -> None:
        """From outside; all from one who waits for each to be taken."""
        for update in updates:
            self._on_the_way[OUTSIDE, partition_of(update.place, PARTITIONS)].append(encode_update(update))

    def settle(self, now_us: int = 10**15, *, most: int = 100_000) -> None:
        """Until nothing is on the way."""
        while any(self._on_the_way.values()):
            lane = self._random.choice([lane for lane, waiting in self._on_the_way.items() if waiting])
            self._handle(lane[1], [self._on_the_way[lane].popleft()], now_us)
            most -= 1
            assert most, "the partitions do not come to rest"

    def settle_with_crashes(self, now_us: int = 10**15) -> None:
        """The same, but now and then a partition dies with its follow-ups sent and its rows not stored, and does it again."""
        while any(self._on_the_way.values()):
            lane = self._random.choice([lane for lane, waiting in self._on_the_way.items() if waiting])
            if self._random.random() < 0.2:
                self._handle(lane[1], [self._on_the_way[lane][0]], now_us, is_stored=False)
            else:
                self._handle(lane[1], [self._on_the_way[lane].popleft()], now_us)

    def _handle(self, number: int, values: list[bytes], now_us: int, *, is_stored: bool = True) -> None:
        stage = self.stages[number]
        for value in values:
            self.told += 1
            stage.apply(decode_update(value), now_us)
        writes = stage.take()
        for target, updates in writes.sent.items():
            self._on_the_way[number, target].extend(updates)
        if not is_stored:
            self.stages[number] = self._new_stage(number)
            return
        self.entries += writes.entries
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
