import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inbound.keys import content_key, request_key, uuid_of

names = st.text(max_size=10)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | names
)
attributes = st.dictionaries(
    names,
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)),
    max_size=5,
)
contents = st.fixed_dictionaries(
    {
        "application": names,
        "user_id": names,
        "device_id": names,
        "name": names,
        "timestamp": st.text(min_size=1, max_size=10),
        "attributes": attributes,
    }
)


def shuffled(value: Any, draw: st.DataObject) -> Any:
    """The same content, with the keys of every object in another order."""
    if isinstance(value, dict):
        order = draw.draw(st.permutations(list(value)))
        return {key: shuffled(value[key], draw) for key in order}
    return [shuffled(each, draw) for each in value] if isinstance(value, list) else value


@given(contents, st.data())
def test_the_order_of_attributes_does_not_matter(content: dict[str, Any], data: st.DataObject) -> None:
    other = content | {"attributes": shuffled(content["attributes"], data)}

    assert content_key(**content) == content_key(**other)


@given(contents, contents)
def test_different_contents_have_different_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    # 1, 1.0 and True are equal to Python, and differ as JSON.
    assert (content_key(**one) == content_key(**other)) == (repr(canonical(one)) == repr(canonical(other)))


def canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((key, canonical(inner)) for key, inner in value.items())
    return [canonical(each) for each in value] if isinstance(value, list) else repr(value)


BASE: dict[str, Any] = {
    "application": "A",
    "user_id": "u",
    "device_id": "d",
    "name": "n",
    "timestamp": "2026-11-22T10:00:00Z",
    "attributes": {"a": 1},
}


@pytest.mark.parametrize(
    "change",
    [
        {"application": "B"},
        {"user_id": "ud", "device_id": ""},
        {"user_id": "d", "device_id": "u"},
        {"device_id": None},
        {"name": "N"},
        {"timestamp": "2026-11-22T10:00:01Z"},
        {"attributes": {"a": "1"}},
        {"attributes": {"a": 1.0}},
        {"attributes": {"a": True}},
        {"attributes": {"a": [1]}},
        {"attributes": {"a": 1, "b": None}},
        {"attributes": {}},
    ],
)
def test_each_part_of_the_content_counts(change: dict[str, Any]) -> None:
    assert content_key(**BASE) != content_key(**(BASE | change))


@pytest.mark.parametrize("part", ["user_id", "device_id"])
def test_an_absent_id_and_an_empty_one_are_the_same(part: str) -> None:
    assert content_key(**(BASE | {part: None})) == content_key(**(BASE | {part: ""}))


def test_absent_attributes_and_none_at_all_are_the_same() -> None:
    assert content_key(**(BASE | {"attributes": None})) == content_key(**(BASE | {"attributes": {}}))


@pytest.mark.parametrize("timestamp", [None, ""])
def test_without_a_timestamp_nothing_tells_a_repetition_from_a_new_event(timestamp: str | None) -> None:
    assert content_key(**(BASE | {"timestamp": timestamp})) == ""


@given(names, names, names, names)
def test_two_requests_have_the_same_key_only_as_the_same_webhook_and_idempotency_key(
    webhook: str, key: str, other_webhook: str, other_key: str
) -> None:
    is_same = (webhook, key) == (other_webhook, other_key) or (not key and not other_key)

    assert (request_key(webhook, key) == request_key(other_webhook, other_key)) == is_same


def test_a_webhook_that_is_made_again_under_its_id_has_keys_of_its_own() -> None:
    assert (
        len({request_key("orders", "1"), request_key("orders", "1", made=7), request_key("orders", "1", made=9)}) == 3
    )


def test_a_request_without_an_idempotency_key_has_no_key() -> None:
    assert request_key("orders", "") == ""


def test_a_key_can_hold_what_no_text_can() -> None:
    assert request_key("orders", "\udcff") != request_key("orders", "\udcfe")


@given(st.text())
def test_a_made_uuid_is_one_of_version_8_and_always_the_same(seed: str) -> None:
    made = uuid.UUID(uuid_of(seed))

    assert (made.version, made.variant) == (8, uuid.RFC_4122)
    assert uuid_of(seed) == str(made)
    assert uuid_of(seed + "x") != str(made)
