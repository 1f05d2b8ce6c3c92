import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipeline.inbound.secrets import authorized, has_token, header_value, new_secret
from tests.support.inbound_webhook import PREVIOUS_SECRET, SECRET, webhook

KEYS = (SecretStr("one"), SecretStr("two"))
ROTATED = webhook(previous_secret=PREVIOUS_SECRET, previous_until=1000.0)


def test_a_new_secret_is_one_that_a_webhook_takes_and_comes_once() -> None:
    secrets = {new_secret() for _ in range(100)}

    assert len(secrets) == 100
    assert all(authorized(header_value(each), webhook(secret=each), 0.0) for each in secrets)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        SECRET,
        f"bearer {SECRET}",
        f"Bearer  {SECRET}",
        f"Bearer {SECRET} ",
        f" Bearer {SECRET}",
        f"Bearer {SECRET[:-1]}",
        f"Bearer {SECRET}x",
        f"Bearer {SECRET.upper()}",
        f"Basic {SECRET}",
        f"Token {SECRET}",
        f"Bearer {SECRET}, Bearer {SECRET}",
        "Bearer \udcff\udcfe",
        "Bearer секрет",
    ],
)
def test_anything_but_the_whole_value_is_refused(header: str | None) -> None:
    assert not authorized(header, webhook(), 0.0)


@given(st.text() | st.text(alphabet="Bearer curnt-secofds", max_size=40))
def test_no_other_text_is_taken(header: str) -> None:
    assert authorized(header, webhook(), 0.0) == (header == f"Bearer {SECRET}")


@pytest.mark.parametrize(
    ("now_s", "taken"),
    [
        (0.0, {SECRET, PREVIOUS_SECRET}),
        (999.9, {SECRET, PREVIOUS_SECRET}),
        (1000.0, {SECRET}),
        (2000.0, {SECRET}),
    ],
)
def test_both_secrets_are_taken_until_the_previous_one_ends(now_s: float, taken: set[str]) -> None:
    assert {each for each in (SECRET, PREVIOUS_SECRET) if authorized(header_value(each), ROTATED, now_s)} == taken


@pytest.mark.parametrize("header", [None, "Bearer x", header_value(SECRET), header_value(PREVIOUS_SECRET)])
def test_every_secret_is_compared_whichever_fits(monkeypatch: pytest.MonkeyPatch, header: str | None) -> None:
    compared: list[bytes] = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda given, known: compared.append(known) or compare(given, known))

    authorized(header, ROTATED, 0.0)

    assert compared == [f"Bearer {SECRET}".encode(), f"Bearer {PREVIOUS_SECRET}".encode()]


@pytest.mark.parametrize("header", ["Token one", "Token two"])
def test_segment_calls_with_any_of_the_keys(header: str) -> None:
    assert has_token(header, KEYS)


@pytest.mark.parametrize("header", ["Token three", "Bearer one", "token one", "one", "Token ", None])
def test_nothing_else_is_a_key_of_segment(header: str | None) -> None:
    assert not has_token(header, KEYS)


def test_where_there_is_no_key_nobody_may_call() -> None:
    assert not has_token("Token ", ())
