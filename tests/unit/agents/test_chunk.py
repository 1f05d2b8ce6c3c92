"""When a chunk is finished."""

import asyncio
from types import SimpleNamespace

from faust.types.tuples import TP

from agents.engine.chunk import Chunk


def chunk_of(*values: bytes, finished: list[Chunk]) -> Chunk:
    records = [
        SimpleNamespace(offset=7 + number, timestamp=1000 * number, key=None, value=value)
        for number, value in enumerate(values)
    ]
    return Chunk(
        TP("events", 3), records, generation_id=1, size_bytes=sum(map(len, values)), on_finished=finished.append
    )


def test_it_knows_its_first_and_last_offset_and_the_time_of_its_last_record():
    chunk = chunk_of(b"a", b"bb", b"ccc", finished=[])
    assert (chunk.topic, chunk.partition) == ("events", 3)
    assert (chunk.first_offset, chunk.offset, chunk.timestamp, chunk.size_bytes) == (7, 9, 2.0, 6)
    assert not chunk.is_tick


def test_a_tick_has_no_records_and_no_offset():
    tick = chunk_of(finished=[])
    assert tick.is_tick
    assert (tick.first_offset, tick.offset, len(tick.records)) == (-1, -1, 0)


def test_it_is_finished_by_its_body_where_nothing_else_holds_it():
    finished: list[Chunk] = []
    chunk = chunk_of(b"a", finished=finished)
    assert finished == []
    chunk.finish_body()
    assert finished == [chunk]


def test_it_is_finished_by_the_last_hold_whichever_comes_last():
    finished: list[Chunk] = []
    chunk = chunk_of(b"a", finished=finished)
    first, second = chunk.hold(), chunk.hold()
    second.release()
    chunk.finish_body()
    assert finished == []
    first.release()
    assert finished == [chunk]


def test_a_hold_counts_once_however_often_it_is_released():
    finished: list[Chunk] = []
    chunk = chunk_of(b"a", finished=finished)
    twice, other = chunk.hold(), chunk.hold()
    chunk.finish_body()
    twice.release()
    twice.release()
    assert finished == []
    other.release()
    assert finished == [chunk]


async def test_it_follows_futures_that_succeed_and_no_others():
    finished: list[Chunk] = []
    loop = asyncio.get_running_loop()
    for end in (
        lambda future: future.set_result(None),
        lambda future: future.set_exception(OSError()),
        asyncio.Future.cancel,
    ):
        chunk, future = chunk_of(b"a", finished=finished), loop.create_future()
        chunk.follow(future)
        chunk.finish_body()
        end(future)
        await asyncio.sleep(0)
    assert len(finished) == 1


async def test_it_follows_a_future_that_is_done_already():
    finished: list[Chunk] = []
    chunk, future = chunk_of(b"a", finished=finished), asyncio.get_running_loop().create_future()
    future.set_result(None)
    chunk.follow(future)
    chunk.finish_body()
    await asyncio.sleep(0)
    assert finished == [chunk]


def test_its_records_can_be_freed_while_it_is_held():
    chunk = chunk_of(b"a", finished=[])
    chunk.hold()
    chunk.finish_body()
    assert not chunk.records
    assert not chunk.is_tick
    assert chunk.offset == 7
