"""The consumer that hands out chunks and commits what is finished."""

import contextlib
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import structlog
from aiokafka.errors import IllegalStateError, KafkaError
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import TP, ConsumerMessage
from mode import Service
from mode.utils.futures import notify

from agents.engine.backlog import Backlog
from agents.engine.chunk import Chunk
from agents.engine.consumer_thread import ChunkConsumerThread
from agents.engine.deadline import STOP_DEADLINE_S, ends_within
from agents.engine.holes import Hole, Holes
from agents.engine.topic import ChunkTopic
from pipeline.errors import GroupRefusedError

log = structlog.get_logger(__name__)

NO_ROOM_POLL_S = 0.01
LOOK_AT_GROUP_S = 1.0


class ChunkConsumer(driver.Consumer):
    """Fetches as Faust does, hands out chunks round robin over partitions, commits finished prefixes.

    Chunk topics never take Faust's per-record path; other topics keep it. A topic beyond its budget is neither handed
    out nor fetched until chunks of it are finished, and the others go on.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._backlogs: dict[TP, Backlog] = {}
        self._unfinished: dict[TP, deque[Chunk]] = {}
        self._committable: dict[TP, int] = {}
        self._ticking: set[TP] = set()
        self._holes = Holes()
        self._thrown_away: set[TP] = set()
        super().__init__(*args, **options)

    def _new_consumer_thread(self) -> ChunkConsumerThread:
        return ChunkConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def is_group_reachable(self) -> bool:
        """Whether the broker that coordinates the consumer group is known and answers."""
        return self._thread.is_group_reachable

    def partitions_of(self, topic: str) -> int | None:
        """How many partitions a topic has; ``None`` where that is not known."""
        return self._thread.partitions_of(topic)

    async def rejoin(self) -> None:
        """Ask the group for another assignment."""
        await self._thread.rejoin()

    @Service.task
    async def _look_whether_the_group_refuses(self) -> None:
        # aiokafka waits, and does nothing for the group, until somebody takes such an error; fetching as it is done here does not.
        while not self.should_stop:
            await self.sleep(LOOK_AT_GROUP_S)
            try:
                await self._thread.check_group()
            except KafkaError as error:
                if self.should_stop or self.app.should_stop:
                    return
                if error.retriable:  # taken, so aiokafka goes on
                    log.warning("the consumer group cannot be reached, trying again", error=repr(error))
                    continue
                raise GroupRefusedError(
                    f"the broker does not let this worker into the consumer group {self.app.conf.id}: {error}. "
                    "Look for other programs that use this group, and for rights that miss; this worker starts again"
                ) from error

    # -- fetching ---------------------------------------------------------------------------------------------------

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:
        # ``None`` for no records: to an empty mapping Faust answers, where the flow has stopped meanwhile, by going back to the
        # committed offsets. That may come just before a recovery does the same, and what was handed out between comes twice.
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        generation_id = self.app.consumer_generation_id
        if self.app.is_assignment_partial:
            await self.sleep(0.05)
            return None, set()
        await self._go_back_to_what_was_thrown_away()
        await self._hand_out_backlogs(generation_id)
        active = self._get_active_partitions()
        fetchable = {tp for tp in active if tp not in self._backlogs and self._may_be_read(tp)}
        if not fetchable:
            await self.sleep(NO_ROOM_POLL_S if self._backlogs else 0.1)
            return None, active
        records = await self._getmany(
            active_partitions=fetchable, timeout=NO_ROOM_POLL_S if self._backlogs else timeout
        )
        if not records:
            return None, active
        if not self.flow_active or generation_id != self.app.consumer_generation_id:
            self._thrown_away.update(ensure_TP(tp) for tp in records)
            return None, active
        others = {}
        for fetched_tp, fetched in records.items():
            tp = ensure_TP(fetched_tp)
            if tp.topic in self.app.chunk_topics:
                if tp in fetchable:
                    self._add_backlog(tp, fetched)
            else:
                others[fetched_tp] = fetched
        await self._hand_out_backlogs(generation_id)
        if not self.flow_active:
            self._thrown_away.update(map(ensure_TP, others))
            return None, active
        return others, active

    def _add_backlog(self, tp: TP, records: list[Any]) -> None:
        read_offset = self._read_offset[tp]
        # Between the assignment and the seek that says where to begin, or paused since the fetch began: it would wait till that ends.
        if read_offset is None or tp in self._paused_partitions:
            self._thrown_away.add(tp)
            return
        if records[0].offset < read_offset:  # delivered again after a seek
            records = [record for record in records if record.offset >= read_offset]
        elif records[0].offset > read_offset and not self._pass_hole(tp, Hole(read_offset, records[0].offset)):
            self._thrown_away.add(tp)  # nothing may be skipped, whatever moved the position
            return
        if records:
            self._backlogs[tp] = Backlog(records)
            self.app.chunk_topics[tp.topic].backlogs += 1
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))

    def _pass_hole(self, tp: TP, hole: Hole) -> bool:
        """Whether to go on behind a hole: where it was found twice, and what was lost in it is told."""
        if not self._holes.believe(tp, hole):
            return False
        # Of a changelog compaction takes what newer rows replace.
        removed = 0 if self.app.chunk_topics[tp.topic].internal else self._holes.removed(tp)
        if removed is None:
            return False
        if removed:
            self._tell_removed(tp, hole, removed)
        self._holes.forget(tp)
        return True

    def _tell_removed(self, tp: TP, hole: Hole, removed: int) -> None:
        if hole.start <= 0:
            log.info("a topic is read for the first time", topic=tp.topic, partition=tp.partition, offset=hole.end)
            return
        log.error(
            "records were removed before they were read, and are lost: raise retention.ms of the topic, or keep workers running",
            topic=tp.topic,
            partition=tp.partition,
            first_offset=hole.start,
            last_offset=hole.start + removed - 1,
            records=removed,
        )
        self.app.on_removed(tp, removed)

    async def _ask_where_logs_begin(self) -> None:
        unasked = self._holes.unasked(self._thrown_away & self.assignment())
        asked = [tp for tp in unasked if not self.app.chunk_topics[tp.topic].internal]
        if asked:
            with contextlib.suppress(KafkaError):  # the hole is found again, and then it is asked again
                found = await self.earliest_offsets(*asked)
                self._holes.begin_at({ensure_TP(tp): offset for tp, offset in found.items()})

    async def _go_back_to_what_was_thrown_away(self) -> None:
        """Read again what was fetched and not used.

        A fetch that is open during a rebalance may end after it, and then takes records of the new assignment along.
        """
        await self._ask_where_logs_begin()
        assigned = self.assignment()
        offsets = {tp: offset for tp in self._thrown_away & assigned if (offset := self._read_offset[tp]) is not None}
        self._thrown_away &= assigned - offsets.keys()
        if offsets:
            with contextlib.suppress(IllegalStateError):  # they leave: the next owner begins at the committed offsets
                await self.seek_wait(offsets)

    async def _hand_out_backlogs(self, generation_id: int) -> None:
        waiting = deque(self._backlogs)
        while waiting:
            tp = waiting.popleft()
            if not self.flow_active or generation_id != self.app.consumer_generation_id:
                return
            backlog = self._backlogs.get(tp)
            topic: ChunkTopic = self.app.chunk_topics[tp.topic]
            if (
                backlog is None
                or tp in self._paused_partitions
                or not self._may_be_read(tp)
                or not self._has_room(topic)
            ):
                continue
            records, size_bytes = backlog.cut(topic.max_chunk_records, topic.max_chunk_bytes)
            if backlog.is_empty():
                del self._backlogs[tp]
                topic.backlogs -= 1
            else:
                waiting.append(tp)
            chunk = Chunk(
                tp, records, generation_id=generation_id, size_bytes=size_bytes, on_finished=self._on_finished
            )
            if not topic.internal:
                topic.hand_out(chunk)
                self._unfinished.setdefault(tp, deque()).append(chunk)
                self.app.on_chunk(chunk, len(records))
            self._read_offset[tp] = chunk.offset + 1
            await self.wait_first(self.callback(chunk), self.suspend_flow.wait())

    def _may_be_read(self, tp: TP) -> bool:
        """Whether records of ``tp`` may be handed out now: of changelogs always, of all else when no rebalance is under way.

        While tables recover the flow is on, and before a rebalance ends Faust opens all partitions, goes back to the committed
        offsets and empties the queues of the streams: what was handed out between would be lost until the next rebalance.
        """
        return not self.app.rebalancing or self._is_changelog_tp(tp)

    def _has_room(self, topic: ChunkTopic) -> bool:
        if topic.internal:  # a changelog: bounded by the recovery's queue
            return self.app.tables.changelog_queue.qsize() < topic.max_queued_chunks
        return topic.has_room()

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        """Make Faust's message of a record of another topic, which does not know where it came from."""
        key, value = record.key, record.value
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.offset,
            record.timestamp / 1000.0,
            record.timestamp_type,
            record.headers,
            key,
            value,
            record.checksum,
            -1 if key is None else len(key),
            -1 if value is None else len(value),
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def tick(self, tp: TP) -> None:
        """Put a tick into the partition's stream, unless the last one still waits there."""
        if tp in self._ticking or not self.flow_active or self.app.rebalancing or self.app.is_assignment_partial:
            return
        self._ticking.add(tp)
        await self.callback(Chunk(tp, (), generation_id=self.app.consumer_generation_id, on_finished=self._on_finished))

    # -- finishing --------------------------------------------------------------------------------------------------

    def begin(self, chunk: Chunk) -> None:
        """Note that an agent started on ``chunk``, so that a rebalance or shutdown waits for it."""
        chunk.tracked = True
        self._unacked_messages.add(chunk)
        if chunk.is_tick:
            self._ticking.discard(chunk.tp)
        else:
            self.app.sensors.on_message_in(chunk.tp, chunk.offset, chunk)

    def drop(self, chunk: Chunk) -> None:
        """Forget a chunk whose partition was taken away before an agent saw it."""
        if chunk.is_tick:
            self._ticking.discard(chunk.tp)

    def _on_finished(self, chunk: Chunk) -> None:
        chunk.acked = True
        self._unacked_messages.discard(chunk)
        if not chunk.is_tick:
            self._finish_prefix(chunk)
        notify(self._waiting_for_ack)

    def _finish_prefix(self, chunk: Chunk) -> None:
        unfinished = self._unfinished.get(chunk.tp)
        if not unfinished or chunk.generation_id != self.app.consumer_generation_id:
            return
        self.app.chunk_topics[chunk.tp.topic].take_back(chunk)
        while unfinished and unfinished[0].acked:
            self._committable[chunk.tp] = unfinished.popleft().offset + 1

    def uncommitted(self) -> Iterator[tuple[TP, int, float]]:
        """For each partition that has any: its unfinished chunks and the seconds for which the first has been so."""
        now_s = time.monotonic()
        for tp, chunks in self._unfinished.items():
            if chunks:
                yield tp, len(chunks), now_s - chunks[0].handed_out_at_s

    def committed_offsets(self) -> dict[TP, int]:
        """The offset up to which each owned partition is committed; those that nothing was committed of yet are left out."""
        return {tp: offset for tp, offset in self._committed_offset.items() if offset is not None}

    # -- committing -------------------------------------------------------------------------------------------------

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        for tp in list(self._committable):
            if topics is None or tp in topics or tp.topic in topics:
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic in self.app.chunk_topics:
            return self._committable.get(tp)
        return super()._new_offset(tp)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        did_commit = await super()._commit_offsets(offsets, start_new_transaction)
        if did_commit:
            for tp, offset in offsets.items():
                if self._committable.get(tp) == offset:
                    del self._committable[tp]
        return did_commit

    # -- coming and going -------------------------------------------------------------------------------------------

    async def perform_seek(self) -> None:
        """Go back to the committed offsets; whatever was fetched beyond them is forgotten and fetched again."""
        self._forget(set(self._unfinished) | set(self._backlogs) | self._ticking)
        for each, offset in (await self.seek_to_committed()).items():
            tp = ensure_TP(each)
            topic = self.app.chunk_topics.get(tp.topic)
            if topic is None:
                self._read_offset[tp] = offset
            elif not topic.internal:  # of changelogs a recovery says where they are read from
                self._read_offset[tp] = offset or 0
            # Also where there is none: Faust notes an offset as committed even where the broker refused it.
            self._committed_offset[tp] = offset or None

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Go to offsets, and remember them also where they are 0."""
        await super().seek_wait(partitions)
        self._read_offset.update({tp: offset for tp, offset in partitions.items() if tp.topic in self.app.chunk_topics})

    async def on_stop(self) -> None:
        """Commit what is finished, as long as the broker listens."""
        if not self.app.is_broker_deaf and not await ends_within(STOP_DEADLINE_S, super().on_stop()):
            self.app.is_broker_deaf = True

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let Faust stop the flow, wait for what runs and commit; then forget the partitions."""
        await super().on_partitions_revoked(revoked)
        self._forget(revoked)

    def _forget(self, partitions: Iterable[TP]) -> None:
        for tp in list(partitions):
            topic = self.app.chunk_topics.get(tp.topic)
            for chunk in self._unfinished.pop(tp, ()):
                if not chunk.acked:
                    topic.take_back(chunk)
            if self._backlogs.pop(tp, None) is not None:
                topic.backlogs -= 1
            self._holes.forget(tp)
            self._committable.pop(tp, None)
            self._ticking.discard(tp)
