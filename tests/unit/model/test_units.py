import contextlib
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pipeline.model.section import Origin
from pipeline.model.units import (
    Duration,
    DurationS,
    Size,
    SizeBytes,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

DURATION = TypeAdapter(Annotated[float, Duration(1.0, 60.0)])
SIZE = TypeAdapter(Annotated[int, Size(10, 2048)])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30.0), ("5m", 300.0), ("1h", 3600.0), ("3d", 259200.0), ("1.5h", 5400.0), (" 2 s ", 2.0)],
)
def test_durations_are_read_in_every_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("512B", 512), ("64KiB", 65536), ("1MiB", 1 << 20), ("8MB", 8_000_000), ("1.5KiB", 1536), ("2 gib", 2 << 30)],
)
def test_sizes_are_read_in_every_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@given(st.integers(0, 10**12))
def test_a_written_duration_reads_back_the_same(milliseconds: int) -> None:
    seconds = milliseconds / 1000

    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(0, 10**14))
def test_a_written_size_reads_back_the_same(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.text(max_size=40))
def test_unreadable_text_is_a_value_error_and_nothing_else(text: str) -> None:
    for parse in (parse_duration, parse_size):
        with contextlib.suppress(ValueError):
            assert parse(text) >= 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("30", "30 has no unit; write 30s"),
        ("30x", "x is not a unit of time; units: ms, s, m, h, d"),
        ("-1s", "is not a duration such as"),
        ("", "is not a duration such as"),
        ("0.5ms", "finer than a millisecond"),
        ("1h30m", "is not a duration such as"),
        ("٣s", "is not a duration such as"),
    ],
)
def test_a_bad_duration_is_told_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("64", "64 has no unit; write 64B"),
        ("1TB", "TB is not a unit of size"),
        ("0.5B", "whole number"),
        ("x", "a size"),
    ],
)
def test_a_bad_size_is_told_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_size(text)


def test_code_may_give_plain_numbers_but_a_file_may_not() -> None:
    assert TypeAdapter(DurationS).validate_python(30) == 30.0
    assert TypeAdapter(SizeBytes).validate_python(30) == 30
    with pytest.raises(ValidationError, match="30 has no unit; write 30s"):
        TypeAdapter(DurationS).validate_python(30, context=Origin.FILE)
    with pytest.raises(ValidationError, match="30 has no unit; write 30B"):
        TypeAdapter(SizeBytes).validate_python(30, context=Origin.FILE)


@pytest.mark.parametrize(
    ("value", "message"), [("500ms", "at least 1s"), ("2m", "at most 1m"), (float("nan"), "at least")]
)
def test_durations_have_bounds(value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DURATION.validate_python(value)


@pytest.mark.parametrize(("value", "message"), [("9B", "at least 10B"), ("3KiB", "at most 2KiB")])
def test_sizes_have_bounds(value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SIZE.validate_python(value)


@pytest.mark.parametrize("value", [True, None, [], {}])
def test_other_types_are_refused(value: object) -> None:
    for adapter in (DURATION, SIZE):
        with pytest.raises(ValidationError, match="must be a"):
            adapter.validate_python(value)


def test_they_are_serialised_as_people_write_them() -> None:
    assert DURATION.dump_json(30.0) == b'"30s"'
    assert SIZE.dump_json(1024) == b'"1KiB"'
