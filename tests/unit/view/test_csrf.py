"""Which requests that change something are believed."""

import pytest

from pipeline.errors import ForbiddenError
from pipeline.view import csrf

KEY = b"k" * 32
HOSTS = frozenset({"view.example:6066"})


def test_a_token_is_that_of_its_session_alone() -> None:
    csrf.check_token(KEY, "one", csrf.token_of(KEY, "one"))
    for session, key in (("two", KEY), ("", KEY), ("one", b"o" * 32)):
        with pytest.raises(ForbiddenError):
            csrf.check_token(key, session, csrf.token_of(KEY, "one"))


@pytest.mark.parametrize("given", ["", "0", "\ud800", "é" * 40])
def test_anything_else_is_no_token_and_programs_are_told_what_to_send(given: str) -> None:
    with pytest.raises(ForbiddenError, match="a program sends Content-Type: application/json"):
        csrf.check_token(KEY, "one", given)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://view.example:6066"},
        {"Origin": "https://VIEW.example:6066", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_the_views_own_pages_and_programs_pass(headers: dict[str, str]) -> None:
    csrf.check_origin(headers, HOSTS)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "something"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://view.example"},
        {"Origin": "http://view.example:6066.evil.example"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "none"},
    ],
)
def test_other_sites_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ForbiddenError):
        csrf.check_origin(headers, HOSTS)


@pytest.mark.parametrize(
    ("method", "content_type", "is_from_a_form"),
    [
        ("POST", "", True),
        ("POST", "text/plain;charset=utf-8", True),
        ("POST", "Application/X-WWW-Form-Urlencoded", True),
        ("POST", "multipart/form-data; boundary=x", True),
        ("POST", "application/json", False),
        ("PUT", "text/plain", False),
        ("DELETE", "", False),
    ],
)
def test_what_a_foreign_page_can_send_without_asking(method: str, content_type: str, *, is_from_a_form: bool) -> None:
    assert csrf.is_from_a_form(method, content_type) is is_from_a_form
