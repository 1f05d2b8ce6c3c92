import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.decode import EventDecoder, published
from pipeline.ingest.poison import PoisonReason
from pipeline.ingest.route import MAX_FRAMES_BYTES, MAX_RECORD_BYTES, Routed, Router
from pipeline.model.attempt import DeadLetter
from pipeline.model.frame import Frame, decode_frame, encode_frame
from pipeline.model.integration import Integration
from pipeline.model.placement import partition_of
from pipeline.traffic import events as traffic


@dataclass(frozen=True)
class Record:
    offset: int
    value: bytes | None
    timestamp: int = 1_723_799_271_000
    key: bytes | None = b"key"


def integration(name: str, **filters: Any) -> Integration:
    given = {"id": name, "kind": "http", "url": "https://x.example", "events": "*", "platforms": "*"}
    return Integration(**(given | filters))


def event(application: str = "A", name: str = "Push Sent", **fields: Any) -> bytes:
    given = {"event_name": name, "application_code": application, "platform": "iOS", "timestamp": 1, "hwid": "h"}
    return json.dumps(given | fields).encode()


def records(values: Sequence[bytes | None], first: int = 0) -> list[Record]:
    return [Record(offset, value) for offset, value in enumerate(values, first)]


def decoded(routed: Routed) -> list[tuple[int, Frame]]:
    return [(target, decode_frame(frame)) for target, frame in routed.frames]


def by_lane(routed: Routed) -> dict[str, list[tuple[int, bytes]]]:
    """Lane -> source offset and bytes of its events, in the order of the frames."""
    found: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for _, frame in decoded(routed):
        for each in frame.slices:
            offsets = [frame.first_offset + distance for distance in each.offset_distances()]
            found[each.lane] += zip(offsets, each.run().events(), strict=True)
    return dict(found)


CONFIGURED = [
    integration("everything"),
    integration("own-bytes", fields="all"),
    integration("a", applications=["A"]),
    integration("b-opened", applications=["B"], events=["Email Opened"]),
    integration("off", enabled=False),
    integration("live", live_activities=True, applications=["A"]),
]
values = st.one_of(
    st.builds(event, st.sampled_from("ABC"), st.sampled_from(["Push Sent", "Email Opened"])),
    st.builds(event, st.just("A"), live_activity_id=st.just("L"), uuid=st.text(min_size=1, max_size=5)),
    st.sampled_from([None, b"", b"[]", event(platform="Pager"), b" %b\n" % event("A", payload="👋,{")]),
)
gaps = st.lists(st.tuples(st.integers(1, 5), values), max_size=40)


def chunk_of(drawn: list[tuple[int, bytes | None]], first: int) -> list[Record]:
    offset = first
    chunk = []
    for gap, value in drawn:
        offset += gap
        chunk.append(Record(offset, value, timestamp=1000 + offset % 7))
    return chunk


@given(drawn=gaps, first=st.integers(0, 2**50), partitions=st.integers(1, 5))
def test_every_event_is_matched_by_some_or_none_or_dead(
    drawn: list[tuple[int, bytes | None]], first: int, partitions: int
) -> None:
    chunk = chunk_of(drawn, first)
    routed = Router(CONFIGURED, partitions).route(chunk, "events", 3)
    lanes = by_lane(routed)
    matched_offsets = {offset for items in lanes.values() for offset, _ in items}
    assert routed.events == len(chunk) == len(matched_offsets) + routed.unmatched + len(routed.dead)
    assert routed.matched == sum(len(items) for items in lanes.values())
    assert not matched_offsets & {letter.offset for letter in routed.dead}
    for letter in routed.dead:
        (record,) = (each for each in chunk if each.offset == letter.offset)
        assert (letter.value, letter.key, letter.timestamp_ms) == (record.value, record.key, record.timestamp)
        assert (letter.topic, letter.partition) == ("events", 3)
        assert letter.reason in set(PoisonReason)


@given(drawn=gaps, partitions=st.integers(1, 5))
def test_each_lane_gets_its_events_in_order_in_the_form_that_it_asks_for(
    drawn: list[tuple[int, bytes | None]], partitions: int
) -> None:
    chunk = chunk_of(drawn, 10)
    lanes = by_lane(Router(CONFIGURED, partitions).route(chunk, "events", 3))
    decoder = EventDecoder("events", 3)
    dead = {letter.offset for letter in Router(CONFIGURED, partitions).route(chunk, "events", 3).dead}
    usable = [(each.offset, each.value) for each in chunk if each.offset not in dead and each.value is not None]
    plain = [(offset, value) for offset, value in usable if "live_activity_id" not in json.loads(value)]
    assert lanes.get("own-bytes", []) == [(offset, value.strip()) for offset, value in plain]
    assert lanes.get("everything", []) == [
        (offset, published(decoder.decode(value, offset)[1])) for offset, value in plain
    ]
    of_a = [offset for offset, value in usable if json.loads(value)["application_code"] == "A"]
    assert [offset for offset, _ in lanes.get("live", [])] == of_a
    assert "off" not in lanes


@given(drawn=gaps, first=st.integers(0, 2**50), partitions=st.integers(1, 5))
def test_a_frame_tells_where_it_comes_from_and_goes_where_its_lanes_live(
    drawn: list[tuple[int, bytes | None]], first: int, partitions: int
) -> None:
    chunk = chunk_of(drawn, first)
    routed = Router(CONFIGURED, partitions, source_epoch=4).route(chunk, "events", 3)
    targets = [target for target, _ in routed.frames]
    assert len(targets) == len(set(targets))
    for target, frame in decoded(routed):
        assert (frame.source_topic, frame.source_partition, frame.source_epoch) == ("events", 3, 4)
        assert (frame.first_offset, frame.last_offset) == (chunk[0].offset, chunk[-1].offset)
        own = {frame.first_offset + each for lane in frame.slices for each in lane.offset_distances()}
        assert frame.newest_ms == max(each.timestamp for each in chunk if each.offset in own)
        assert frame.slices
        assert all(partition_of(each.lane, partitions) == target for each in frame.slices)


@given(drawn=gaps)
def test_the_frames_are_a_function_of_the_records(drawn: list[tuple[int, bytes | None]]) -> None:
    chunk = chunk_of(drawn, 0)
    router = Router(CONFIGURED, 3)
    routed = router.route(chunk, "events", 0)
    router.route(chunk_of(drawn[::-1], 500), "events", 1)
    assert router.route(chunk, "events", 0) == routed == Router(CONFIGURED, 3).route(chunk, "events", 0)
    assert [frame for _, frame in routed.frames] == [encode_frame(frame) for _, frame in decoded(routed)]


def test_only_events_of_the_source_topic_are_looked_at_for_users() -> None:
    router, seen = Router(CONFIGURED, 3), []
    router.look = seen.extend
    router.route(records([event(user_id="from-inbound")]), "inbound", 0, source_epoch=1)
    router.route(records([event(user_id="from-source")]), "events", 0)
    assert [each.user_id for each in seen] == ["from-source"]


def test_an_empty_chunk_gives_nothing() -> None:
    assert Router(CONFIGURED, 3).route([], "events", 0) == Routed([], [], 0, 0, 0)


def test_a_bad_record_takes_none_of_its_neighbours_along() -> None:
    routed = Router([integration("a")], 1).route(records([event(), b"{", event(), None, event()], first=7), "events", 2)
    assert [offset for offset, _ in by_lane(routed)["a"]] == [7, 9, 11]
    assert [(letter.offset, letter.reason) for letter in routed.dead] == [(8, "not_json"), (10, "tombstone")]
    assert routed.dead[0] == DeadLetter(
        "not_json", routed.dead[0].detail, "events", 2, 8, 1_723_799_271_000, b"key", b"{"
    )


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 500])
def test_offsets_and_ends_are_right_for_few_and_many_events(count: int) -> None:
    # More than 4,095 bytes and distances beyond 4,095, where packing no longer takes from a table.
    chunk = [Record(10 + 4000 * number, event(payload="x" * (number * 97 % 5000))) for number in range(count)]
    items = by_lane(Router([integration("a", fields="all")], 1).route(chunk, "events", 0))["a"]
    assert items == [(each.offset, each.value) for each in chunk]


def assert_cut_at_event_boundaries(routed: Routed, chunk: Sequence[Record]) -> None:
    ends: dict[int, int] = {}
    for target, frame in decoded(routed):
        assert frame.first_offset > ends.get(target, chunk[0].offset - 1)
        assert frame.last_offset >= frame.first_offset
        ends[target] = frame.last_offset
        for each in frame.slices:
            offsets = [frame.first_offset + distance for distance in each.offset_distances()]
            assert frame.first_offset <= min(offsets) <= max(offsets) <= frame.last_offset
    assert max(ends.values()) == chunk[-1].offset


def test_more_than_one_record_can_hold_becomes_several_frames() -> None:
    lanes = [integration(f"lane-{number}", fields="all") for number in range(40)]
    chunk = records([event(payload="x" * 20_000) for _ in range(30)], first=5)
    routed = Router(lanes, 2).route(chunk, "events", 0)
    assert len(routed.frames) > 6
    assert all(len(frame) < MAX_FRAMES_BYTES for _, frame in routed.frames)
    assert_cut_at_event_boundaries(routed, chunk)
    assert by_lane(routed) == {each.id: [(one.offset, one.value) for one in chunk] for each in lanes}
    assert routed.matched == 30 * 40


def test_an_event_that_is_large_by_itself_gets_a_larger_frame() -> None:
    lanes = [integration(f"lane-{number}") for number in range(6)]
    chunk = records([event(), event(payload="x" * 1_000_000), event(), event()])
    routed = Router(lanes, 1).route(chunk, "events", 0)
    assert [len(frame) > MAX_FRAMES_BYTES for _, frame in routed.frames] == [False, True, False]
    assert_cut_at_event_boundaries(routed, chunk)
    assert routed.dead == []


def test_an_event_whose_copies_fit_in_no_record_is_dead_and_its_neighbours_arrive() -> None:
    lanes = [integration(f"lane-{number}") for number in range(9)]
    chunk = records([event(), event(payload="x" * 1_000_000), event(), event()])
    routed = Router(lanes, 1).route(chunk, "events", 0)
    assert [(letter.offset, letter.reason) for letter in routed.dead] == [(1, PoisonReason.TOO_MANY_COPIES)]
    assert str(MAX_RECORD_BYTES) in routed.dead[0].detail
    assert len(routed.frames) == 1
    assert {tuple(offset for offset, _ in items) for items in by_lane(routed).values()} == {(0, 2, 3)}
    assert routed.matched == 27
    # Over several partitions the same copies fit.
    assert Router(lanes, 8).route(chunk, "events", 0).dead == []


def test_offsets_further_apart_than_32_bits_become_two_frames() -> None:
    chunk = [Record(5, event()), Record(6, event()), Record(2**40, event()), Record(2**40 + 1, event())]
    routed = Router([integration("a", fields="all")], 1).route(chunk, "events", 0)
    assert_cut_at_event_boundaries(routed, chunk)
    assert by_lane(routed)["a"] == [(each.offset, each.value) for each in chunk]


def test_a_lane_lives_where_kafkas_own_partitioner_would_put_its_key() -> None:
    # From the Java client: Utils.toPositive(Utils.murmur2(key)) % 8.
    assert [partition_of(key, 8) for key in ("21", "foobar", "a-little-bit-long-string", "abc")] == [
        (-973932308 & 0x7FFFFFFF) % 8,
        (-790332482 & 0x7FFFFFFF) % 8,
        (-985981536 & 0x7FFFFFFF) % 8,
        (479470107 & 0x7FFFFFFF) % 8,
    ]


def test_real_looking_traffic_with_poison_adds_up() -> None:
    lanes = [
        integration(f"lane-{number}", applications=[code]) for number, code in enumerate(("32E5A-9B411", "7C0D1-4F2AA"))
    ]
    routed = Router(lanes, 4).route(records(list(traffic(3, 2000, poison_share=0.05))), "events", 0)
    assert routed.events == 2000 == routed.matched + routed.unmatched + len(routed.dead)
    assert 50 < len(routed.dead) < 150
    assert routed.matched > 500


def test_a_spread_integration_keeps_each_user_in_one_lane() -> None:
    router = Router([integration("hot", lanes=4, fields="all"), integration("cold")], partitions=8)
    sent = records([event(user_id=f"user-{number % 20}") for number in range(200)])
    found = by_lane(router.route(sent, "topic", 0))
    assert len(found.pop("cold")) == 200
    lanes_of: defaultdict[str, set[str]] = defaultdict(set)
    for lane, events in found.items():
        for _, value in events:
            lanes_of[json.loads(value)["user_id"]].add(lane)
    assert len(lanes_of) == 20
    assert all(len(lanes) == 1 for lanes in lanes_of.values())
    assert set(found) == {"hot~0", "hot~1", "hot~2", "hot~3"}
