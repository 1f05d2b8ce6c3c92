import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CodecError
from pipeline.inbound.outcome import Outcome
from pipeline.inbound.request import (
    SHOWN_BODY_BYTES,
    InboundEvent,
    InboundRequest,
    decode,
    encode,
    shown_body,
)

requests = st.builds(
    InboundRequest,
    at_s=st.floats(0, 1e10),
    request_id=st.uuids().map(str),
    source=st.sampled_from(["webhook", "segment"]),
    outcome=st.sampled_from(Outcome),
    status=st.integers(200, 599),
    detail=st.text(),
    webhook_id=st.text(),
    identifier=st.text(),
    key=st.text(),
    body=st.text(),
    size_bytes=st.integers(0, 2**40),
    is_cut=st.booleans(),
    events=st.lists(
        st.builds(InboundEvent, key=st.text(), uuid=st.text(), event=st.just(msgspec.Raw(b'{"a":{"b":[1]}}'))),
        max_size=3,
    ),
    disregarded=st.dictionaries(st.text(), st.integers(0, 1000), max_size=3),
    is_first_part=st.booleans(),
)


@given(requests)
def test_a_record_is_read_as_it_was_written(request: InboundRequest) -> None:
    assert encode(decode(encode(request))) == encode(request)


def test_an_event_stays_the_bytes_that_it_was() -> None:
    event = b'{"b": 1,  "a":2}'
    request = InboundRequest(
        at_s=0.0,
        request_id="r",
        source="webhook",
        outcome=Outcome.ACCEPTED,
        status=200,
        events=[InboundEvent(key="k", uuid="u", event=msgspec.Raw(event))],
    )

    (read,) = decode(encode(request)).events

    assert bytes(read.event) == event


@pytest.mark.parametrize("value", [None, b"", b"{}", b"[]", b"\xff", b'{"at_s": 0}'])
def test_what_is_no_record_says_so(value: bytes | None) -> None:
    with pytest.raises(CodecError, match="a record of inbound requests cannot be read"):
        decode(value)


def test_a_short_body_is_shown_whole() -> None:
    assert shown_body(b'{"a": "\xc3\xa9"}') == ('{"a": "é"}', False)


def test_what_is_not_utf_8_is_shown_as_the_replacement_character() -> None:
    assert shown_body(b"a\xffb") == ("a\ufffdb", False)


@given(st.text(max_size=8), st.sampled_from("aé€🛒"), st.integers(-3, 3))
def test_a_cut_goes_through_no_character(start: str, character: str, more: int) -> None:
    room = SHOWN_BODY_BYTES - len(start.encode())
    text = start + character * (room // len(character.encode()) + more)
    shown, is_cut = shown_body(text.encode())

    assert is_cut == (len(text.encode()) > SHOWN_BODY_BYTES)
    assert text.startswith(shown)
    assert len(shown.encode()) > min(SHOWN_BODY_BYTES, len(text.encode())) - 4


@given(st.binary(max_size=16))
def test_every_body_can_be_shown(end: bytes) -> None:
    shown, _ = shown_body(b"x" * (SHOWN_BODY_BYTES - 8) + end)

    assert shown.encode()
