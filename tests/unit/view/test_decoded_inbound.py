"""What comes in, as people look at its rows and records: decoded, and nobody to be seen who is masked."""

import json
from typing import Any

import msgspec
import pytest

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.request import InboundEvent, InboundRequest, encode
from pipeline.inbound.rows import (
    CountsRow,
    ProgressRow,
    SubjectRow,
    counts_key,
    encode_expiry,
    encode_row,
    key_row,
    subject_key,
)
from pipeline.users.identifiers import By
from pipeline.users.model import Device, Link, User
from pipeline.users.rows import encode_row as encode_user_row
from pipeline.users.rows import link_key, user_key
from pipeline.view.columns import Personal
from pipeline.view.decoded import decode_record, decode_table_row, read_key

ALL = frozenset(Personal)
PERSON = ("jane", "jane@example.com", "device-7", "gold")


def request() -> bytes:
    event = {
        "event_name": "Bought",
        "user_id": "jane",
        "email": "jane@example.com",
        "attributes": {"who": "jane", "tag": "gold"},
    }
    return encode(
        InboundRequest(
            at_s=1.0, request_id="r", source="webhook", outcome=Outcome.ACCEPTED, status=200, webhook_id="orders",
            identifier_by="user_id", identifier="jane", user_key="jane", detail="jane", body=json.dumps({"who": "jane", "x": "gold"}),
            events=[InboundEvent(key="", uuid="u", event=msgspec.Raw(json.dumps(event).encode()))],
        )
    )  # fmt: skip


def test_a_request_is_decoded_down_to_its_event() -> None:
    found = decode_record("inbound-requests", request(), frozenset())

    assert (found.kind, found.value["events"][0]["event"]["attributes"]["who"]) == ("request", "jane")


@pytest.mark.parametrize("masks", [ALL, frozenset({Personal.USER_ID, Personal.EMAIL})], ids=["all", "some"])
def test_a_request_does_not_say_whose_it_was(masks: frozenset[Personal]) -> None:
    found = decode_record("inbound-requests", request(), masks)

    assert "jane" not in json.dumps(found.value)


@pytest.mark.parametrize("value", [b"no JSON", b"{}", b'{"email": "jane@example.com"}'])
def test_a_record_that_cannot_be_read_is_hidden_from_those_who_may_not_see_all(value: bytes) -> None:
    assert "jane" not in json.dumps(decode_record("inbound-requests", value, frozenset({Personal.PHONE})).value)
    assert "jane" not in json.dumps(decode_record("user-updates", value, frozenset({Personal.PHONE})).value)


USER = User(
    application="A", key="jane", user_id="jane", email="jane@example.com", tags={"plan": "gold"},
    devices={"device-7": Device()}, created_at_us=1, updated_at_us=2,
)  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        (user_key("A", "jane"), encode_user_row(USER), "user"),
        (link_key("A", By.EMAIL, "jane@example.com"), encode_user_row(Link("jane", 1)), "identifier"),
    ],
)
def test_rows_of_users_are_shown_whole_or_not_at_all(key: bytes, value: bytes, kind: str) -> None:
    plain = decode_table_row("users", key, value, frozenset(), sections={})
    masked = decode_table_row("users", key, value, frozenset({Personal.PHONE}), sections={})

    assert (plain.kind, plain.problem, "jane" in json.dumps(plain.value)) == (kind, "", True)
    assert not any(each in json.dumps(masked.value) for each in PERSON)


@pytest.mark.parametrize(
    ("key", "value", "kind", "told"),
    [
        (key_row("x"), encode_expiry(99.0), "key", {"expires_at": 99}),
        (
            counts_key("orders", 7),
            encode_row(CountsRow(requests={"accepted": 2})),
            "counts",
            {"requests": {"accepted": 2}},
        ),
        (subject_key("orders"), encode_row(SubjectRow(received=3)), "subject", {"received": 3}),
        (b"o", encode_row(ProgressRow(applied_offset=5)), "progress", {"applied_offset": 5}),
    ],
)
def test_rows_of_what_came_in_are_decoded(key: bytes, value: bytes, kind: str, told: dict[str, Any]) -> None:
    found = decode_table_row("inbound", key, value, ALL, sections={})

    assert (found.kind, read_key("inbound", key).kind, found.value.items() >= told.items()) == (kind, kind, True)
    assert "secret_mark" not in found.value


def test_a_row_that_cannot_be_read_says_so() -> None:
    assert decode_table_row("inbound", b"s/orders", b"\xc1", ALL, sections={}).problem
