import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipeline.inbound.segment.answers import TAGS_SET, Answer, Refusal
from pipeline.inbound.segment.set_tags import SetTags, read_set_tags

TOKENS = {"32E5A-9B411": (SecretStr("k" * 24),)}
AUTHORIZATION = f"Token {'k' * 24}"
JSON = "application/json"


def read(request: Any, authorization: str | None = AUTHORIZATION) -> SetTags | Answer:
    found = read_set_tags(json.dumps({"request": request}).encode(), authorization, TOKENS)
    return found.answer if isinstance(found, Refusal) else found


def test_tags_are_the_users_attributes() -> None:
    found = read(
        {"application": "32E5A-9B411", "userId": "jana-17", "tags": {"plan": "family", "phone": "+4930901820"}}
    )
    assert isinstance(found, SetTags)
    assert (found.application, found.user.user_id) == ("32E5A-9B411", "jana-17")
    assert (found.user.attributes, found.user.phone) == ({"plan": "family", "phone": "+4930901820"}, "+4930901820")


def test_a_device_is_as_good_as_a_user() -> None:
    found = read({"application": "32E5A-9B411", "hwid": "5C0E8AD1", "tags": {}})
    assert isinstance(found, SetTags)
    assert found.user.device_id == "5C0E8AD1"


def test_the_answer_is_the_vendors() -> None:
    assert TAGS_SET == (200, b'{"status_code":200,"status_message":"OK","response":{}}', JSON)


@pytest.mark.parametrize("application", ["FFFFF-00000", "", None])
def test_an_unknown_application_is_answered_as_the_vendor_does(application: str | None) -> None:
    body = b'{"status_code":210,"status_message":"application code is not valid","response":null}'
    assert read({"application": application, "userId": "u", "tags": {}}) == (400, body, JSON)


@pytest.mark.parametrize("empty", [{}, {"userId": ""}, {"userId": None, "hwid": " "}])
def test_tags_of_nobody_are_answered_as_the_vendor_does(empty: dict[str, Any]) -> None:
    body = b'{"status_code":210,"status_message":"hwid or userId should be set","response":null}'
    assert read({"application": "32E5A-9B411", "tags": {"a": 1}} | empty) == (400, body, JSON)


@pytest.mark.parametrize("authorization", [None, "", "Token x", f"Bearer {'k' * 24}"])
def test_a_wrong_token_is_refused(authorization: str | None) -> None:
    answer = read({"application": "32E5A-9B411", "userId": "u", "tags": {}}, authorization)
    assert isinstance(answer, Answer)
    assert answer.status == 401


@pytest.mark.parametrize(("user", "authorization"), [("u", "Token x"), ("", AUTHORIZATION)])
def test_a_refusal_tells_which_application_it_is_of(user: str, authorization: str) -> None:
    body = json.dumps({"request": {"application": "32E5A-9B411", "userId": user}}).encode()
    assert read_set_tags(body, authorization, TOKENS).application == "32E5A-9B411"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"request":5}', b'{"request":{"application":5}}', b"[" * 100])
def test_what_is_no_call_is_refused(body: bytes) -> None:
    refusal = read_set_tags(body, AUTHORIZATION, TOKENS)
    assert isinstance(refusal, Refusal)
    assert json.loads(refusal.answer.body)["status_code"] == refusal.answer.status == 400


@given(st.binary(max_size=60))
def test_any_body_is_refused_or_taken(body: bytes) -> None:
    assert isinstance(read_set_tags(body, AUTHORIZATION, TOKENS), Refusal)
