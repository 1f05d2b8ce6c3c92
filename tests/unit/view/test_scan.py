"""What a search through records finds, and how far it has come."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ViewQueryError
from pipeline.view.columns import Personal
from pipeline.view.mask import mask_value
from pipeline.view.scan import FIELDS, Progress, Wanted, event_row, find

VALUES = st.one_of(st.text(min_size=1, max_size=8), st.sampled_from(["u-1", "é", '"', "\\", "a/b", "1"]))
EVENTS = st.dictionaries(
    st.sampled_from([key for keys in FIELDS.values() for key in keys] + ["payload"]),
    st.one_of(VALUES, st.integers(0, 9)),
)


@given(
    event=EVENTS,
    values=st.dictionaries(st.sampled_from([*FIELDS]), VALUES, min_size=1, max_size=2),
    is_ascii=st.booleans(),
)
def test_an_event_is_found_by_its_fields_however_it_is_written(event: dict, values: dict, *, is_ascii: bool) -> None:
    text = json.dumps(event, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    is_meant = all(
        any(str(event.get(key)) == value for key in FIELDS[name] if key in event) for name, value in values.items()
    )
    assert (find(text, Wanted(values)) is not None) == is_meant


@pytest.mark.parametrize(
    "record", [b"", b"not json u-1", b'["u-1"]', b'{"user_id":"u-1"', b"\xffu-1", b"[" * 100_000 + b"u-1"]
)
def test_what_is_no_event_is_not_found(record: bytes) -> None:
    assert find(record, Wanted({"user_id": "u-1"})) is None


def test_a_masked_value_is_found_by_its_tag() -> None:
    tag = mask_value(Personal.USER_ID, "u-1")
    record = b'{"user_id":"u-1"}'
    assert find(record, Wanted({"user_id": tag}, frozenset({Personal.USER_ID}))) is not None
    assert find(record, Wanted({"user_id": tag})) is None


@pytest.mark.parametrize("values", [{}, {"user_id": ""}, {"payload": "x"}])
def test_a_search_for_nothing_is_refused(values: dict) -> None:
    with pytest.raises(ViewQueryError):
        Wanted(values)


def test_a_hit_is_masked() -> None:
    row = event_row({"user_id": "u-1", "event_name": "Push Sent"}, {"topic": "t"}, {Personal.USER_ID})
    assert row["user_id"] == mask_value(Personal.USER_ID, "u-1")
    assert (row["event_name"], row["topic"]) == ("Push Sent", "t")


@pytest.mark.parametrize(
    ("platform", "device", "mask"),
    [("SMS", "+491512345678", Personal.PHONE), ("Email", "ana@mail.example", Personal.EMAIL)],
)
def test_a_device_that_is_a_phone_or_an_address_is_masked_as_that(platform: str, device: str, mask: Personal) -> None:
    event = {"event_name": "Sent", "platform": platform, "hwid": device}
    tag = mask_value(mask, device)

    assert event_row(event, {}, {mask})["hwid"] == tag
    assert find(json.dumps(event).encode(), Wanted({"hwid": tag}, frozenset({mask}))) is not None
    assert find(json.dumps(event).encode(), Wanted({"hwid": tag})) is None


SPANS = st.dictionaries(
    st.integers(0, 5),
    st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: (min(pair), max(pair))),
    min_size=1,
)


@given(spans=SPANS, steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=10))
def test_a_search_goes_on_from_its_cursor(spans: dict, steps: list) -> None:
    progress = Progress.of(spans)
    for partition, offset in steps:
        if partition in spans:
            progress = progress.after(partition, offset)
    again = Progress.of(spans, progress.cursor)
    assert again == progress
    assert 0.0 <= progress.share <= 1.0
    assert progress.is_done == (progress.share == 1.0)


@pytest.mark.parametrize("text", ["x", "1", "1:", "-1:5", "1:5;2:3", "1:" + "9" * 30])
def test_a_broken_cursor_is_refused(text: str) -> None:
    with pytest.raises(ViewQueryError, match="from"):
        Progress.of({1: (0, 5)}, text)
