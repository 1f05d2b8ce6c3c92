"""How far each source partition has been applied, and which events of a frame are new.

The route stage may send events a second time after a crash, in frames with other borders. A watermark a source partition
tells the old from the new: source offsets only ever rise within one life of a source topic. When the topic is deleted and
made again they start at 0, and a watermark would hide its events; so that is looked for, and ends the worker.
"""

from typing import Protocol

from pipeline.errors import SourceRecreatedError
from pipeline.model.frame import Frame
from pipeline.windows.rows import RowGroup, SourceKey, SourceRow, encode_source_row, source_key

NOTHING_APPLIED = -1


class Watermark:
    """What a routed partition knows of one source partition.

    ``source_offset`` is the last source offset applied, ``newest_ms`` the newest Kafka timestamp, ``routed_offset`` the last
    routed record. ``epoch`` is the operator's count of the source topic's lives; frames that say at least ``epoch_floor`` belong to it.
    """

    __slots__ = ("epoch", "epoch_floor", "newest_ms", "routed_offset", "source_offset")

    def __init__(
        self,
        epoch: int,
        epoch_floor: int,
        source_offset: int = NOTHING_APPLIED,
        newest_ms: int = -1,
        routed_offset: int = -1,
    ) -> None:
        self.epoch = epoch
        self.epoch_floor = epoch_floor
        self.source_offset = source_offset
        self.newest_ms = newest_ms
        self.routed_offset = routed_offset


class SourceReset(Protocol):
    """Told that a source partition's offsets are counted from the start again."""

    def __call__(self, *, topic: str, partition: int, old_epoch: int, epoch: int) -> None:
        """Log it, count it."""
        ...


class Sources:
    """The watermarks of one routed partition.

    ``epoch`` is ``source_epoch`` of faust.yml. It is compared only where a frame would otherwise end the worker: a frame of
    the re-created topic that was routed before the operator raised the epoch is then taken as the new epoch's first.
    """

    def __init__(self, epoch: int, on_reset: SourceReset | None = None) -> None:
        self._epoch = epoch
        self._on_reset = on_reset
        self._marks: dict[tuple[str, int], Watermark] = {}
        self._changed: set[tuple[str, int]] = set()
        self.resets = 0

    def restore(self, key: SourceKey, row: SourceRow) -> None:
        """Take up a stored watermark."""
        self._marks[key] = Watermark(row.epoch, row.epoch_floor, row.source_offset, row.newest_ms, row.routed_offset)

    def admit(self, offset: int, frame: Frame) -> int:
        """Move the watermark over a frame; return the last source offset that had been applied before it.

        Events up to the returned offset are to be skipped. A routed record that the stored watermark covers gives the frame's own
        last offset: nothing in it is new. Raises ``SourceRecreatedError`` where offsets seem to have started again, of the
        source topic or of the routed topic itself.
        """
        source = (frame.source_topic, frame.source_partition)
        mark = self._marks.get(source)
        if mark is None:
            mark = self._marks[source] = Watermark(frame.source_epoch, frame.source_epoch)
        elif offset <= mark.routed_offset:
            _check_repeated(offset, mark, frame)
            return frame.last_offset
        else:
            self._check_epoch(mark, frame)
        applied = mark.source_offset
        mark.source_offset = max(applied, frame.last_offset)
        mark.newest_ms = max(mark.newest_ms, frame.newest_ms)
        mark.routed_offset = offset
        self._changed.add(source)
        return applied

    def take(self) -> RowGroup:
        """The rows of the watermarks that moved since the last call."""
        rows: RowGroup = []
        for source in sorted(self._changed):
            mark = self._marks[source]
            value = encode_source_row(
                mark.epoch, mark.epoch_floor, mark.source_offset, mark.newest_ms, mark.routed_offset
            )
            rows.append((source_key(*source), value))
        self._changed.clear()
        return rows

    def _check_epoch(self, mark: Watermark, frame: Frame) -> None:
        if frame.source_epoch > mark.epoch:
            self._reset(mark, frame, frame.source_epoch)
            return
        if frame.source_epoch < mark.epoch_floor:
            found = f"a routed record says source_epoch {frame.source_epoch} after {mark.epoch}, so a worker with an old faust.yml routed it"
        elif frame.last_offset <= mark.source_offset and frame.newest_ms > mark.newest_ms:
            found = f"offset {mark.source_offset} was applied, now come offsets {frame.first_offset} to {frame.last_offset} with newer timestamps"
        else:
            mark.epoch_floor = max(mark.epoch_floor, frame.source_epoch)
            return
        if self._epoch <= mark.epoch:
            raise SourceRecreatedError(
                f"source topic {frame.source_topic}, partition {frame.source_partition}: {found}. "
                "Was the topic deleted and made again? Going on would skip its events: set "
                f"`source_epoch: {mark.epoch + 1}` in the faust.yml of all workers (raise it by one) and start them again"
            )
        self._reset(mark, frame, self._epoch)

    def _reset(self, mark: Watermark, frame: Frame, epoch: int) -> None:
        old_epoch = mark.epoch
        mark.epoch, mark.epoch_floor = epoch, frame.source_epoch
        mark.source_offset, mark.newest_ms = NOTHING_APPLIED, -1
        self.resets += 1
        if self._on_reset is not None:
            self._on_reset(topic=frame.source_topic, partition=frame.source_partition, old_epoch=old_epoch, epoch=epoch)


def _check_repeated(offset: int, mark: Watermark, frame: Frame) -> None:
    if frame.source_epoch == mark.epoch and frame.last_offset > mark.source_offset:
        raise SourceRecreatedError(
            f"the routed record at offset {offset} holds events that were never applied, although records up to offset "
            f"{mark.routed_offset} were. Was the routed topic deleted and made again without the state that belongs to it? Then delete the "
            "changelog topic of table windows and the workers' data directories as well; what their open windows held is lost"
        )
