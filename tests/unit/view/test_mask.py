"""Personal data out of sight."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ViewQueryError
from pipeline.view.columns import Column, Kind, Personal
from pipeline.view.mask import mask_event, mask_row, mask_text, mask_value, masked_query
from pipeline.view.query import Condition, Operator, Query
from pipeline.view.source import answer_of

ALL = frozenset(Personal)
COLUMNS = (
    Column("id", "Id"),
    Column("user", "User", personal=Personal.USER_ID),
    Column("mail", "Mail", personal=Personal.EMAIL),
    Column("count", "Count", Kind.INTEGER),
)
ROWS = [
    {"id": "1", "user": "ana", "mail": "ana@example.com", "count": 1},
    {"id": "2", "user": "bob", "mail": "bob@example.com", "count": 2},
    {"id": "3", "user": "ana", "mail": None, "count": 3},
]


def found(query: Query, masks: frozenset[Personal] = ALL) -> list[str]:
    return [row["id"] for row in answer_of(ROWS, query, COLUMNS, masks).rows]


@given(st.text(min_size=1) | st.integers())
def test_a_tag_tells_its_kind_and_nothing_of_the_value(value):
    tag = mask_value(Personal.PHONE, value)
    assert tag.startswith("phone:")
    assert len(tag) == len("phone:") + 10


@given(st.text(min_size=1), st.text(min_size=1))
def test_equal_values_have_equal_tags_and_others_others(one, other):
    assert (mask_value(Personal.HWID, one) == mask_value(Personal.HWID, other)) is (one == other)


@pytest.mark.parametrize("empty", [None, ""])
def test_what_is_empty_stays_so(empty):
    assert mask_value(Personal.EMAIL, empty) is empty


def test_a_tag_is_not_tagged_again():
    tag = mask_value(Personal.EMAIL, "ana@example.com")
    assert mask_value(Personal.EMAIL, tag) == tag


def test_one_mailbox_has_one_tag_however_it_is_written():
    assert mask_value(Personal.EMAIL, "Ana@Example.com ") == mask_value(Personal.EMAIL, "ana@example.com")


def test_a_number_has_the_tag_of_its_text():
    assert mask_value(Personal.USER_ID, 17) == mask_value(Personal.USER_ID, "17")


def test_only_what_the_masks_name_is_hidden():
    row = mask_row(COLUMNS, ROWS[0], {Personal.EMAIL})
    assert (row["user"], row["count"]) == ("ana", 1)
    assert row["mail"].startswith("email:")


def test_a_record_as_it_came_is_hidden_where_anything_is():
    raw = (Column("preview", "Preview", personal=Personal.PAYLOAD, is_raw=True),)

    assert mask_row(raw, {"preview": '{"hwid": "a"'}, {Personal.HWID})["preview"].startswith("payload:")
    assert mask_row(raw, {"preview": '{"hwid": "a"'}, ())["preview"] == '{"hwid": "a"'


def test_words_of_others_keep_all_but_addresses():
    quoting = (Column("detail", "Detail", is_quoting=True),)
    row = {"detail": "answered 400: ana@example.com is unknown"}

    seen = mask_row(quoting, row, {Personal.EMAIL})["detail"]

    assert seen == f"answered 400: {mask_value(Personal.EMAIL, 'ana@example.com')} is unknown"
    assert mask_row(quoting, row, {Personal.HWID}) == row


# searching


@pytest.mark.parametrize("text", ["ana", "ana@example.com", "example"])
def test_free_text_does_not_find_what_is_masked(text: str):
    assert found(Query(sort="id", key="id", text=text)) == []


def test_free_text_finds_it_for_those_who_may_see_it():
    assert found(Query(sort="id", key="id", text="example"), frozenset()) == ["1", "2"]


@pytest.mark.parametrize(
    "operator", [Operator.CONTAINS, Operator.GREATER, Operator.LESS, Operator.AT_LEAST, Operator.AT_MOST]
)
def test_parts_of_what_is_masked_cannot_be_compared(operator: Operator):
    with pytest.raises(ViewQueryError, match="masked"):
        masked_query(Query(conditions=(Condition("user", operator, "a"),)), COLUMNS, ALL)


def test_a_whole_value_is_found():
    assert found(Query(sort="id", key="id").where("user", "ana")) == ["1", "3"]


def test_a_tag_is_found():
    tag = mask_value(Personal.USER_ID, "ana")
    assert found(Query(sort="id", key="id").where("user", tag)) == ["1", "3"]


def test_one_of_several_whole_values_is_found():
    assert found(Query(sort="id", key="id").where("user", ("ana", "bob"), Operator.IN)) == ["1", "2", "3"]


def test_blanks_are_found():
    assert found(Query(sort="id", key="id").where("mail", True, Operator.BLANK)) == ["3"]


def test_order_by_a_masked_column_is_that_of_its_tags():
    rows = answer_of(ROWS, Query(sort="user", key="id"), COLUMNS, ALL).rows
    assert [row["user"] for row in rows] == sorted(row["user"] for row in rows)


def test_facets_count_tags():
    facets = answer_of(ROWS, Query(sort="id", key="id", facets=("user",)), COLUMNS, ALL).facets
    assert dict(facets["user"]) == {mask_value(Personal.USER_ID, "ana"): 2, mask_value(Personal.USER_ID, "bob"): 1}


# events

EVENT = {
    "event_name": "Email Sent",
    "platform": "Email",
    "application_code": "32E5A-9B411",
    "hwid": "device-1",
    "user_id": "ana",
    "email": "ana@example.com",
    "payload": '{"x": 1}',
    "error_message": "no mailbox ana@example.com here",
    "custom": {"phone": "+4912345", "name": "Ana"},
}


def test_nothing_is_changed_without_masks():
    assert mask_event(EVENT, frozenset()) is EVENT


def test_no_personal_value_is_left_in_an_event():
    text = json.dumps(mask_event({"events": [EVENT]}, ALL))
    assert not any(secret in text for secret in ("ana@", "device-1", '"ana"', "+4912345", "Ana", '"x"'))


def test_what_tells_nothing_of_a_person_stays():
    masked = mask_event(EVENT, ALL)
    assert (masked["event_name"], masked["application_code"]) == ("Email Sent", "32E5A-9B411")


def test_an_address_in_a_text_is_masked_with_the_text_around_it_left():
    tag = mask_value(Personal.EMAIL, "ana@example.com")
    assert mask_event(EVENT, {Personal.EMAIL})["error_message"] == f"no mailbox {tag} here"


def test_a_field_that_is_not_known_is_hidden_with_the_payload():
    assert str(mask_event(EVENT, {Personal.PAYLOAD})["custom"]).startswith("payload:")


def test_a_phone_deep_inside_is_known_by_its_name():
    masked = mask_event(EVENT, {Personal.PHONE})
    assert masked["custom"]["phone"].startswith("phone:")
    assert masked["custom"]["name"] == "Ana"


@pytest.mark.parametrize("platform", ["SMS", 18, "WhatsApp"])
def test_the_device_of_a_text_message_is_a_phone(platform):
    masked = mask_event({"event_name": "SMS Sent", "platform": platform, "hwid": "+4912345"}, {Personal.PHONE})
    assert masked["hwid"].startswith("phone:")


def test_nesting_without_end_is_cut():
    deep: dict = {}
    for _ in range(200):
        deep = {"a": deep}
    assert '"..."' in json.dumps(mask_event(deep, ALL))


@given(st.text())
def test_any_text_can_be_masked(text: str):
    assert isinstance(mask_text(text, ALL), str)
