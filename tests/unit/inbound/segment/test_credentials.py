import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipeline.inbound.segment.answers import Answer, Refusal
from pipeline.inbound.segment.credentials import authorized_application, is_anyones_token

NEW, OLD, OTHER = "n" * 20, "o" * 20, "x" * 20
TOKENS = {"32E5A-9B411": (SecretStr(NEW), SecretStr(OLD)), "A1B2C-D3E4F": (SecretStr(OTHER),)}
JSON = "application/json"


def answer_to(application: str | None, authorization: str | None) -> str | Answer:
    found = authorized_application(application, authorization, TOKENS)
    return found.answer if isinstance(found, Refusal) else found


@pytest.mark.parametrize("token", [NEW, OLD])
@pytest.mark.parametrize("scheme", ["Token", "token", "TOKEN"])
def test_each_of_the_applications_tokens_is_taken(scheme: str, token: str) -> None:
    assert answer_to("32E5A-9B411", f"{scheme} {token}") == "32E5A-9B411"


@pytest.mark.parametrize("application", [None, "", "  "])
def test_a_call_without_application_is_answered_as_the_vendor_does(application: str | None) -> None:
    assert answer_to(application, f"Token {NEW}") == (400, b'{"message":"missing application code"}', JSON)


@pytest.mark.parametrize("application", ["FFFFF-00000", "32e5a-9b411"])
def test_a_call_for_an_unknown_application_is_answered_as_the_vendor_does(application: str) -> None:
    assert answer_to(application, f"Token {NEW}") == (400, b'{"message":"application not found"}', JSON)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Token",
        "Token ",
        NEW,
        f"Bearer {NEW}",
        f"Token {OTHER}",
        f"Token {NEW}x",
        f"Token  {NEW}",
        "Token \udcff",
    ],
)
def test_a_call_without_the_applications_token_is_answered_as_the_vendor_does(authorization: str | None) -> None:
    assert answer_to("32E5A-9B411", authorization) == (401, b'{"message":"unauthorized"}', JSON)


@given(application=st.none() | st.text(), authorization=st.none() | st.text(st.characters(codec="utf-8")))
def test_nobody_gets_in_by_chance(application: str | None, authorization: str | None) -> None:
    assert isinstance(answer_to(application, authorization), Answer)


@pytest.mark.parametrize("token", [NEW, OLD, OTHER])
def test_the_token_of_any_application_is_somebodys(token: str) -> None:
    assert is_anyones_token(f"Token {token}", TOKENS)


@pytest.mark.parametrize("authorization", [None, "", "Token", f"Bearer {NEW}", "Token \udcff", f"Token {NEW}x"])
def test_another_token_is_nobodys(authorization: str | None) -> None:
    assert not is_anyones_token(authorization, TOKENS)
