from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inbound.mapping import compile_webhook, label_of
from pipeline.inbound.outcome import Outcome
from pipeline.inbound.payload import Refused
from pipeline.users.identifiers import MOST_CHARACTERS
from tests.support.inbound_webhook import webhook

COMPILED = compile_webhook(webhook(identify={"by": "user_id", "field": "user.id"}))


@pytest.mark.parametrize(
    ("value", "identifier"),
    [
        ("12345", "12345"),
        ("  jane@example.com\n", "jane@example.com"),
        (12345, "12345"),
        (0, "0"),
        (-7, "-7"),
        (2**64, "18446744073709551616"),
        (12345.0, "12345"),
        ("+1 555 123-4567", "+1 555 123-4567"),
        ("ключ", "ключ"),
        ("x" * MOST_CHARACTERS, "x" * MOST_CHARACTERS),
    ],
)
def test_an_identifier_is_text_or_a_whole_number(value: Any, identifier: str) -> None:
    assert COMPILED.identifier_of({"user": {"id": value}}) == identifier


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        ({}, "user.id is not in the payload"),
        ({"user": None}, "user.id is not in the payload"),
        ({"user": [{"id": "a"}]}, "user.id is not in the payload"),
        ({"user": {"id": None}}, "user.id is null, not text"),
        ({"user": {"id": ""}}, "user.id is empty text, not text"),
        ({"user": {"id": "  "}}, "user.id is empty text, not text"),
        ({"user": {"id": True}}, "user.id is true or false, not text"),
        ({"user": {"id": 1.5}}, "user.id is a number that is not whole, or too long"),
        ({"user": {"id": 1e300}}, "user.id is a number that is not whole, or too long"),
        ({"user": {"id": 10**600}}, "user.id is a number that is not whole, or too long"),
        ({"user": {"id": ["a"]}}, "user.id is a list, not text"),
        ({"user": {"id": {}}}, "user.id is an object, not text"),
        (
            {"user": {"id": "x" * (MOST_CHARACTERS + 1)}},
            "user.id holds more than 512 characters",
        ),
        ({"user": {"id": "a\x00b"}}, "user.id holds no more than spaces and brackets, or characters"),
    ],
)
def test_anything_else_is_a_missing_identifier_and_the_log_says_why(payload: dict[str, Any], detail: str) -> None:
    with pytest.raises(Refused) as caught:
        COMPILED.identifier_of(payload)

    assert caught.value.outcome is Outcome.IDENTIFIER_MISSING
    assert caught.value.detail.startswith(detail)


@pytest.mark.parametrize(
    ("by", "value", "identifier"),
    [
        ("email", " Jane@Example.COM ", "jane@example.com"),
        ("phone", "+1 (555) 123-4567", "+15551234567"),
        ("phone", 15551234567, "15551234567"),
        ("user_id", "Jane", "Jane"),
        ("hwid", "AB-12", "AB-12"),
    ],
)
def test_an_identifier_is_spelled_as_users_are_kept(by: str, value: Any, identifier: str) -> None:
    assert compile_webhook(webhook(identify={"by": by, "field": "id"})).identifier_of({"id": value}) == identifier


def test_a_phone_number_without_digits_is_missing() -> None:
    with pytest.raises(Refused):
        compile_webhook(webhook(identify={"by": "phone", "field": "id"})).identifier_of({"id": "( )"})


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
def test_every_value_is_an_identifier_or_refused(value: Any) -> None:
    try:
        identifier = COMPILED.identifier_of({"user": {"id": value}})
    except Refused:
        return
    assert identifier == identifier.strip() != ""


def test_attributes_come_from_their_paths_in_the_order_of_the_settings() -> None:
    compiled = compile_webhook(
        webhook(attributes={"skus": "items[*].sku", "first": "items[0].sku", "user": "user", "total": "price"})
    )
    payload = {"price": 99.99, "user": {"id": 1}, "items": [{"sku": "a"}, {"sku": "b"}]}

    assert list(compiled.attributes_of(payload).items()) == [
        ("skus", ["a", "b"]),
        ("first", "a"),
        ("user", {"id": 1}),
        ("total", 99.99),
    ]


@pytest.mark.parametrize("payload", [{}, {"price": None}, {"prices": 1}])
def test_an_attribute_that_is_absent_or_null_is_left_out(payload: dict[str, Any]) -> None:
    assert compile_webhook(webhook(attributes={"total": "price"})).attributes_of(payload) == {}


@pytest.mark.parametrize("value", [0, False, "", [], {}])
def test_an_empty_attribute_is_kept(value: Any) -> None:
    assert compile_webhook(webhook(attributes={"total": "price"})).attributes_of({"price": value}) == {"total": value}


def test_pages_call_identifiers_as_people_do() -> None:
    assert [label_of(by) for by in ("user_id", "email", "phone", "hwid")] == ["User ID", "Email", "Phone", "HWID"]
