"""Payloads of others show nothing to those who may not see it, whatever their fields are called."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.view.columns import Personal
from pipeline.view.mask import mask_value
from pipeline.view.mask_payload import HIDDEN, mask_payload, payload_text

SECRET = "jane-7f3a"
LEAVES = st.none() | st.booleans() | st.integers(0, 99) | st.text("abc", max_size=3) | st.just(SECRET)
PAYLOADS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz_", min_size=1, max_size=4), inner, max_size=3)
    ),
)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [each for inner in value.values() for each in leaves(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in leaves(inner)]
    return [value]


@given(PAYLOADS, st.sampled_from([*Personal]))
def test_the_identifier_of_a_user_is_nowhere_to_be_seen(payload: Any, kind: Personal) -> None:
    masked = mask_payload({"p": payload}, {kind}, by=kind.value, identifier=SECRET)

    assert SECRET not in json.dumps(masked)


@given(PAYLOADS)
def test_nobody_is_hidden_from_those_who_see_all(payload: Any) -> None:
    assert mask_payload(payload, (), by="user_id", identifier=SECRET) is payload


@given(PAYLOADS)
def test_without_payloads_only_fields_and_switches_are_seen(payload: Any) -> None:
    masked = mask_payload({"p": payload}, {Personal.PAYLOAD})

    assert all(
        each is None or isinstance(each, bool) or each == "" or str(each).startswith("payload:")
        for each in leaves(masked)
    )


def test_a_field_that_is_called_email_is_masked_without_being_the_identifier() -> None:
    masked = mask_payload(
        {"email": "a@b.example", "note": "to a@b.example"}, {Personal.EMAIL}, by="user_id", identifier="7"
    )

    assert "a@b.example" not in json.dumps(masked)


def test_a_number_that_is_the_identifier_is_masked() -> None:
    masked = mask_payload({"customer": 12345, "total": 5}, {Personal.USER_ID}, by="user_id", identifier="12345")

    assert masked == {"customer": mask_value(Personal.USER_ID, "12345"), "total": 5}


@pytest.mark.parametrize("body", ["{", '{"email": "a@b.exam', "a@b.example"])
def test_what_is_no_json_is_hidden_as_a_whole(body: str) -> None:
    assert payload_text(body, {Personal.EMAIL}) == HIDDEN
    assert payload_text(body, ()) == body


def test_what_is_nested_deeper_than_anybody_reads_is_hidden_not_shown() -> None:
    body = '{"a":' * 400 + '"a@b.example"' + "}" * 400

    assert "a@b.example" not in payload_text(body, {Personal.EMAIL})
