from typing import Any

import pytest

from pipeline.errors import SourceRecreatedError
from pipeline.model.frame import Frame
from pipeline.windows.rows import SourceKey, decode_source_row, parse_key
from pipeline.windows.sources import NOTHING_APPLIED, Sources


def frame(
    first: int, last: int, *, newest_ms: int = 1000, epoch: int = 1, topic: str = "events", partition: int = 0
) -> Frame:
    return Frame(topic, partition, epoch, first, last, newest_ms, [])


def restored(sources: Sources, epoch: int) -> Sources:
    fresh = Sources(epoch)
    for key, value in sources.take():
        assert value is not None
        owner = parse_key(key)
        assert isinstance(owner, SourceKey)
        fresh.restore(owner, decode_source_row(key, value))
    return fresh


def test_the_watermark_follows_the_frames_of_each_source_partition() -> None:
    sources = Sources(1)
    assert sources.admit(0, frame(0, 99)) == NOTHING_APPLIED
    assert sources.admit(1, frame(100, 149)) == 99
    assert sources.admit(2, frame(0, 10, partition=1)) == NOTHING_APPLIED
    assert sources.admit(3, frame(150, 160)) == 149


def test_a_frame_that_was_routed_twice_is_told_by_the_watermark() -> None:
    sources = Sources(1)
    sources.admit(0, frame(0, 99))
    assert sources.admit(1, frame(0, 49)) == 99
    assert sources.admit(2, frame(50, 149)) == 99
    assert sources.admit(3, frame(150, 151)) == 149


def test_only_watermarks_that_moved_are_written() -> None:
    sources = Sources(1)
    sources.admit(0, frame(0, 99))
    sources.admit(0, frame(0, 9, topic="other"))
    assert [key for key, _ in sources.take()] == [b"@events/0", b"@other/0"]
    sources.admit(1, frame(100, 101))
    assert [key for key, _ in sources.take()] == [b"@events/0"]
    assert sources.take() == []


def test_a_routed_record_that_the_stored_watermark_covers_holds_nothing_new() -> None:
    sources = Sources(1)
    sources.admit(5, frame(0, 99))
    sources.admit(6, frame(100, 199))
    again = restored(sources, 1)
    assert again.admit(5, frame(0, 99)) == 99
    assert again.admit(6, frame(100, 199)) == 199
    assert again.admit(7, frame(200, 200)) == 199


def test_a_higher_epoch_starts_the_offsets_again_and_is_told() -> None:
    told: list[dict[str, Any]] = []
    sources = Sources(2, lambda **reset: told.append(reset))
    sources.admit(0, frame(0, 99))
    assert sources.admit(1, frame(0, 9, newest_ms=2000, epoch=2)) == NOTHING_APPLIED
    assert sources.admit(2, frame(10, 19, newest_ms=2000, epoch=2)) == 9
    assert told == [{"topic": "events", "partition": 0, "old_epoch": 1, "epoch": 2}]
    assert sources.resets == 1


def test_a_lower_epoch_is_an_error() -> None:
    sources = Sources(2)
    sources.admit(0, frame(0, 99, epoch=2))
    with pytest.raises(SourceRecreatedError, match="source_epoch: 3"):
        sources.admit(1, frame(0, 9, epoch=1))


def test_old_offsets_with_new_timestamps_are_an_error_that_says_what_to_do() -> None:
    sources = Sources(1)
    sources.admit(0, frame(0, 99, newest_ms=1000))
    with pytest.raises(SourceRecreatedError, match=r"events, partition 0.*source_epoch: 2.*faust\.yml"):
        sources.admit(1, frame(0, 9, newest_ms=1001))
    assert sources.admit(1, frame(100, 100)) == 99, "the error changed nothing"


def test_once_the_operator_raised_the_epoch_the_frame_that_was_an_error_begins_it() -> None:
    sources = Sources(1)
    sources.admit(0, frame(0, 99, newest_ms=1000))
    after = restored(sources, 2)
    assert after.admit(1, frame(0, 9, newest_ms=2000)) == NOTHING_APPLIED
    assert after.admit(2, frame(10, 19, newest_ms=2100)) == 9, "routed before the epoch was raised as well"
    assert after.admit(3, frame(0, 29, newest_ms=2200, epoch=2)) == 19, "routed again by the new epoch's worker"
    with pytest.raises(SourceRecreatedError):
        after.admit(4, frame(30, 39, newest_ms=2300, epoch=1))


def test_records_of_the_old_life_may_be_read_again_after_the_epoch_was_raised() -> None:
    sources = Sources(2)
    sources.admit(0, frame(0, 99, newest_ms=1000, epoch=1))
    sources.admit(1, frame(0, 9, newest_ms=2000, epoch=2))
    again = restored(sources, 2)
    assert again.admit(0, frame(0, 99, newest_ms=1000, epoch=1)) == 99
    assert again.admit(1, frame(0, 9, newest_ms=2000, epoch=2)) == 9
    assert again.admit(2, frame(10, 10, newest_ms=2000, epoch=2)) == 9


def test_a_routed_topic_without_its_past_is_an_error() -> None:
    sources = Sources(1)
    sources.admit(500, frame(0, 99))
    with pytest.raises(SourceRecreatedError, match="routed topic"):
        restored(sources, 1).admit(3, frame(100, 110))


def test_timestamps_out_of_order_between_chunks_are_no_sign_of_a_new_topic() -> None:
    sources = Sources(1)
    sources.admit(0, frame(0, 9, newest_ms=5000))
    sources.admit(1, frame(10, 19, newest_ms=4000))
    assert sources.admit(2, frame(0, 9, newest_ms=5000)) == 19
