import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.payload import Refused, read_payload

MAX_DEPTH = 32


def refusal(body: bytes) -> tuple[Outcome, str]:
    with pytest.raises(Refused) as caught:
        read_payload(body, MAX_DEPTH)
    return caught.value.outcome, caught.value.detail


@given(
    st.dictionaries(st.text(), st.none() | st.integers(-(2**63), 2**63) | st.text() | st.lists(st.text()), max_size=5)
)
def test_an_object_is_read_as_it_was_written(payload: dict[str, Any]) -> None:
    assert read_payload(json.dumps(payload).encode(), MAX_DEPTH) == payload


@pytest.mark.parametrize(
    ("body", "outcome", "detail"),
    [
        (b"", Outcome.MALFORMED_JSON, "the body is empty"),
        (b" \n", Outcome.MALFORMED_JSON, "the body is empty"),
        (b"{", Outcome.MALFORMED_JSON, ""),
        (b"{'a': 1}", Outcome.MALFORMED_JSON, ""),
        (b'{"a": NaN}', Outcome.MALFORMED_JSON, ""),
        (b'{"a": 1}{"b": 2}', Outcome.MALFORMED_JSON, ""),
        (b"a=1&b=2", Outcome.MALFORMED_JSON, ""),
        (b'\xef\xbb\xbf{"a": 1}', Outcome.MALFORMED_JSON, ""),
        (b'{"a": "\xff"}', Outcome.MALFORMED_JSON, "is not UTF-8"),
        ('{"a": "é"}'.encode("utf-16"), Outcome.MALFORMED_JSON, ""),
        (b"[]", Outcome.NOT_AN_OBJECT, "the body is a list"),
        (b"null", Outcome.NOT_AN_OBJECT, "the body is null"),
        (b'"text"', Outcome.NOT_AN_OBJECT, "the body is text"),
        (b"5", Outcome.NOT_AN_OBJECT, "the body is a number"),
        (b"true", Outcome.NOT_AN_OBJECT, "the body is true or false"),
        (b"[" * 100_000, Outcome.TOO_DEEP, "more than 32 objects and arrays in each other"),
        (b'{"a":' * 100_000, Outcome.TOO_DEEP, "more than 32 objects and arrays in each other"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, Outcome.TOO_DEEP, "more than 32 objects and arrays in each other"),
    ],
)
def test_anything_else_is_refused_with_its_outcome(body: bytes, outcome: Outcome, detail: str) -> None:
    found, said = refusal(body)

    assert found is outcome
    assert detail in said


def test_as_many_objects_in_each_other_as_are_permitted_are_read() -> None:
    assert read_payload(b'{"a":' * 32 + b"1" + b"}" * 32, MAX_DEPTH)


def test_brackets_in_a_text_nest_nothing() -> None:
    assert read_payload(json.dumps({"a": "[{" * 1000}).encode(), MAX_DEPTH) == {"a": "[{" * 1000}


def test_half_a_character_is_read_as_the_replacement_character() -> None:
    assert read_payload(b'{"a": "cut \\ud83d"}', MAX_DEPTH) == {"a": "cut \ufffd"}


def test_of_a_key_that_comes_twice_the_last_one_counts() -> None:
    assert read_payload(b'{"a": 1, "a": 2}', MAX_DEPTH) == {"a": 2}


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,\\u0d8 \x00', max_size=60).map(str.encode))
def test_every_body_is_a_payload_or_refused(body: bytes) -> None:
    try:
        payload = read_payload(body, MAX_DEPTH)
    except Refused:
        return
    assert isinstance(payload, dict)
