import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.segment.answers import Refusal
from pipeline.inbound.segment.delete_user import read_delete_user


def test_the_user_is_named_by_the_external_id() -> None:
    assert read_delete_user(b'{"external_id":"jana-17"}') == "jana-17"


@pytest.mark.parametrize("body", [b"{}", b'{"external_id":null}', b'{"external_id":""}', b'{"external_id":"  "}'])
def test_a_deletion_of_nobody_is_none(body: bytes) -> None:
    assert read_delete_user(body) is None


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"", Outcome.MALFORMED_JSON),
        (b"nobody", Outcome.MALFORMED_JSON),
        (b'"jana-17"', Outcome.UNDECODABLE),
        (b'{"external_id":17}', Outcome.UNDECODABLE),
        (b'{"external_id":["jana-17"]}', Outcome.UNDECODABLE),
        (b'{"external_id":"a\\u0000b"}', Outcome.UNDECODABLE),
        (b'{"external_id":"' + b"u" * 513 + b'"}', Outcome.UNDECODABLE),
    ],
)
def test_what_cannot_be_deleted_does_not_pass_for_deleted(body: bytes, outcome: Outcome) -> None:
    refusal = read_delete_user(body)
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.answer.status) == (outcome, 400)


@given(st.binary(max_size=40) | st.binary(max_size=20).map(lambda inner: b'{"external_id":"' + inner + b'"}'))
def test_any_body_is_taken_or_refused(body: bytes) -> None:
    assert isinstance(read_delete_user(body), str | Refusal | None)
