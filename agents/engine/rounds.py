"""Sends what is urgent, in rounds: all that waits for one broker in one request, the next round when that is acknowledged.

What bounds how much a crash repeats is how soon the broker knows what was done. A request of its own does not wait behind the
bulk of other topics, and what belongs together needs one request instead of two, one after the other.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from agents.engine.packing import Item, MayGo, Part

ROUND_BYTES = 8 << 20
"""A round that has so much takes no further partition in."""
LONGEST_ROUND_S = 1.0
"""A partition that is tried again for longer, as where it moves to another broker, does not hold up the leader's next round."""

Target = tuple[str, int]
"""Topic and partition."""


class SentBatch(NamedTuple):
    """A record batch that is on its way; ``answer`` is done once it is stored and its items were told."""

    answer: "asyncio.Future[Any]"
    parts: list[Part]
    size_bytes: int


class _Way(NamedTuple):
    """To which leader a partition's record batch is on its way, and since when (seconds, by the event loop's clock)."""

    leader: int | None
    began_s: float


class Link(Protocol):
    """The way to the brokers. Nothing more is sent once ``has_failed``, which ``fail`` and ``crash`` set."""

    has_failed: bool

    def leader_of(self, target: Target) -> int | None:
        """Name the broker that leads a partition; ``None`` while it is not known."""

    async def send_urgently(self, target: Target, queue: "deque[Item]", may_go: MayGo) -> SentBatch:
        """Send what may go of a queue as one record batch."""

    async def fail(self, target: Target, error: Exception) -> None:
        """Stop the worker, since something cannot be sent."""

    async def crash(self, error: Exception) -> None:
        """Stop the worker, since something cannot be made that is to be sent."""


class Rounds:
    """Queues a topic-partition, and one round a leader under way.

    aiokafka puts one record batch of each partition into a request. While none of a partition is under way, batches that it
    gets one after the other travel to their leader in one request, and never in an earlier one than those it got before.
    So an item may go ``beside`` others that have the same leader: a worker that is killed then leaves both or neither. Others
    are waited for.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._queues: dict[Target, deque[Item]] = {}
        self._under_way: dict[Target, _Way] = {}
        """Partitions of which a record batch is on its way."""
        self._turns: list[tuple[Target, Callable[[], None]]] = []
        """What is called before the next round of a target's leader."""
        self._rounds_of: dict[asyncio.Future[None], object] = {}
        """The round in which the last of an item travels, by what tells that the item is acknowledged."""
        self._going: asyncio.Task[None] | None = None
        self._has_news = False

    def add(self, target: Target, item: Item) -> None:
        """Queue an item for the next round of its leader."""
        self._queues.setdefault(target, deque()).append(item)
        for other in item.awaited:
            other.add_done_callback(lambda _other: self._wake())
        self._wake()

    def call_in_turn(self, target: Target, add: Callable[[], None]) -> None:
        """Call ``add``, which adds items, when the next round of the target's leader begins: what is done by then goes along."""
        self._turns.append((target, add))
        self._wake()

    async def flush(self) -> None:
        """Wait until all that was added is acknowledged; for ever where that fails. Nobody's turn is waited for."""
        waiting = {item.acknowledged for queue in self._queues.values() for item in queue} | self._rounds_of.keys()
        if waiting:
            await asyncio.wait(waiting)

    def _wake(self) -> None:
        self._has_news = True
        if self._going is None:
            self._going = asyncio.create_task(self._go_on())

    async def _go_on(self) -> None:
        try:
            while self._has_news and not self._link.has_failed:
                self._has_news = False
                await self._call_whose_turn_it_is()
                for leader, targets in self._by_free_leader().items():
                    if not self._link.has_failed:
                        await self._begin(leader, targets)
        finally:
            self._going = None

    async def _call_whose_turn_it_is(self) -> None:
        busy, turns, self._turns = self._busy_leaders(), self._turns, []
        for target, add in turns:
            if self._link.leader_of(target) in busy:
                self._turns.append((target, add))
                continue
            try:
                add()
            except Exception as error:  # noqa: BLE001 whatever it is, records stay unmade: the worker must not go on
                await self._link.crash(error)
                return

    def _busy_leaders(self) -> set[int | None]:
        now_s = asyncio.get_running_loop().time()
        return {way.leader for way in self._under_way.values() if now_s < way.began_s + LONGEST_ROUND_S}

    def _by_free_leader(self) -> dict[int | None, list[Target]]:
        busy = self._busy_leaders()
        found: defaultdict[int | None, list[Target]] = defaultdict(list)
        for target in self._queues:
            leader = self._link.leader_of(target)
            if leader not in busy and target not in self._under_way:
                found[leader].append(target)
        return found

    async def _begin(self, leader: int | None, targets: list[Target]) -> None:
        loop = asyncio.get_running_loop()
        this_round, size_bytes, began_s = object(), 0, loop.time()

        def may_go(item: Item) -> bool:
            return all(leader is not None and self._rounds_of.get(other) is this_round for other in item.awaited)

        # Those first that others may go beside.
        for target in sorted(targets, key=lambda each: bool(self._queues[each][0].beside)):
            queue = self._queues[target]
            if size_bytes > ROUND_BYTES or not may_go(queue[0]):
                continue
            self._under_way[target] = _Way(leader, began_s)
            try:
                batch = await self._link.send_urgently(target, queue, may_go)
            except Exception as error:  # noqa: BLE001 whatever it is, records stay unsent: the worker must not go on
                await self._link.fail(target, error)
                return
            batch.answer.add_done_callback(lambda _answer, target=target: self._on_answer(target))
            size_bytes += batch.size_bytes
            del self._queues[target]
            if queue:
                self._queues[target] = queue  # last, so that each has its turn where a round has no room for all
            for item, _ in batch.parts:
                if item.is_out:
                    self._rounds_of[item.acknowledged] = this_round
                    item.acknowledged.add_done_callback(self._rounds_of.pop)
        if size_bytes:
            loop.call_later(LONGEST_ROUND_S, self._wake_if_waiting)

    def _on_answer(self, target: Target) -> None:
        del self._under_way[target]
        self._wake_if_waiting()

    def _wake_if_waiting(self) -> None:
        if self._queues or self._turns:
            self._wake()
