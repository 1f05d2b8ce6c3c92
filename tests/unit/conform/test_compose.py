import gzip
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.conform import sample
from pipeline.conform.checks import FIRST_CHECK, checks_of
from pipeline.conform.compose import Composer, Signed, Wire
from pipeline.conform.forms import KINDS, Body, form_of
from pipeline.model.ranges import count_of
from pipeline.receiver.http_server import Request
from pipeline.receiver.read import read_delivery

NOW_S = 1_700_000_000.5
SECRETS = {"http": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "xtremepush": "a secret", "email": None}


def composer_of(kind: str = "http", body: Body = "array", *, is_signed: bool = False) -> Composer:
    return Composer(form_of(kind, body=body, secret=SECRETS[kind] if is_signed else None), "abc", "Bearer right")


def request_of(wire: Wire) -> Request:
    headers = {name.lower(): value for name, value in wire.headers.items()}
    return Request("POST", "/", headers, wire.body, len(wire.body))


@given(
    st.sampled_from(get_args(Body)),
    st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=5),
)
def test_a_careful_receiver_takes_what_is_composed(body: Body, takes: list[tuple[int, bool]]) -> None:
    composer = composer_of(body=body)
    numbers: list[int] = []
    for count, is_compressed in takes:
        for wire in composer.wires(composer.take(count, now_s=NOW_S), at_s=NOW_S, is_compressed=is_compressed):
            delivery = read_delivery(request_of(wire), verify=True, check_fields=True)
            assert (delivery.lane, delivery.purpose) == ("conformance-abc~test", "test")
            numbers += range(delivery.first, delivery.end)
    assert numbers == list(range(sum(count for count, _ in takes)))


def test_a_part_leaves_numbers_out() -> None:
    composer = composer_of()
    composer.skip(10)
    group = composer.take(6, now_s=NOW_S, but=((1, 3), (4, 5)))
    assert group.ranges == ((10, 11), (13, 14), (15, 16))
    assert len(group.events) == count_of(group.ranges) == 3
    (wire,) = composer.wires(group, at_s=NOW_S)
    assert wire.headers["webhook-id"] == "conformance-abc~test:10-16~3"
    assert read_delivery(request_of(wire), verify=True).uuids == [f"conformance-abc-{n}" for n in (10, 13, 15)]
    assert composer.take(1, now_s=NOW_S).ranges == ((16, 17),)


@pytest.mark.parametrize("kind", ["http", "xtremepush"])
def test_each_way_to_sign_is_another_signature(kind: str) -> None:
    composer = composer_of(kind, is_signed=True)
    group = composer.take(1, now_s=NOW_S)
    name = "webhook-signature" if kind == "http" else "X-Xtremepush-Signature"
    signatures = {signed: composer.wires(group, at_s=NOW_S, signed=signed)[0].headers.get(name) for signed in Signed}
    assert signatures[Signed.NONE] is None
    assert len(set(signatures.values())) == len(Signed)
    right = str(signatures[Signed.RIGHT]).rpartition("v1")[2]
    for signed in (Signed.WRONG_THEN_RIGHT, Signed.UNKNOWN_SCHEME_TOO):
        assert str(signatures[signed]).endswith(right)
    for signed in (Signed.WRONG, Signed.OTHER_BODY):
        assert right not in str(signatures[signed])


def test_a_packed_body_is_signed_as_text() -> None:
    composer = composer_of(is_signed=True)
    group = composer.take(5, now_s=NOW_S)
    (plain,), (packed,) = (composer.wires(group, at_s=NOW_S, is_compressed=packed) for packed in (False, True))
    assert packed.headers == {**plain.headers, "Content-Encoding": "gzip"}
    assert gzip.decompress(packed.body) == plain.body


def test_the_authorization_is_the_given_one_another_or_none() -> None:
    composer = composer_of()
    group = composer.take(1, now_s=NOW_S)
    sent = [
        composer.wires(group, at_s=NOW_S, authorization=one)[0].headers.get("Authorization") for one in (None, "", "x")
    ]
    assert sent == ["Bearer right", None, "x"]


@pytest.mark.parametrize(
    "make", [sample.plain, sample.sparse, sample.empty, sample.unicode, sample.unknown, sample.large_numbers]
)
def test_every_sample_is_an_event(make: sample.Sample) -> None:
    composer = composer_of()
    (wire,) = composer.wires(composer.take(8, now_s=NOW_S, sample=make), at_s=NOW_S)
    assert read_delivery(request_of(wire), verify=True, check_fields=True).end == 8


def test_a_large_batch_is_1_mib() -> None:
    composer = composer_of()
    (wire,) = composer.wires(composer.take(100, now_s=NOW_S, sample=sample.large), at_s=NOW_S)
    assert 1 << 20 <= len(wire.body) <= 1.1 * (1 << 20)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_signed", [False, True])
def test_the_number_of_requests_is_bounded_and_each_check_has_a_name_of_its_own(kind: str, *, is_signed: bool) -> None:
    composer = composer_of(kind, is_signed=is_signed)
    checks, skipped = checks_of(composer)
    names = [check.name for check in checks] + [one.name for one in skipped]
    assert (names[0], len(set(names))) == (FIRST_CHECK, len(names))
    requests = sum(len(stage) for check in checks for stage in check.make(composer, NOW_S))
    assert requests <= 70
    assert ("signatures" in names) is (not is_signed and kind != "email")


def body_of(kind: str) -> Any:
    composer = composer_of(kind)
    (wire,) = composer.wires(composer.take(1, now_s=NOW_S), at_s=NOW_S)
    return json.loads(wire.body)


def test_email_and_xtremepush_have_their_own_forms() -> None:
    assert list(body_of("email"))[:3] == ["event_name", "message_id", "message_code"]
    assert list(body_of("xtremepush")) == ["event", "time", "properties"]


def test_email_takes_no_secret() -> None:
    with pytest.raises(ValueError, match="not signed"):
        form_of("email", secret="x")
