"""Tokens, sessions, and names that a proxy vouches for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ForbiddenError, SignInError
from pipeline.view.roles import Person, Role
from pipeline.view.settings import Proxy, Token, ViewSettings
from pipeline.view.sign_in import (
    LONGEST_SESSION_S,
    Sessions,
    Tokens,
    as_lists,
    bearer,
    client_address,
    is_trusted,
    session_key,
    vouched,
)

NOW = 1_700_000_000.0
ANA = Token(name="ana", role="viewer", token="a" * 20)
BOB = Token(name="bob", role="admin", token="b" * 20, expires_at=NOW + 60)
PROXY = Proxy(
    networks=["10.0.0.0/8", "fd00::/8"],
    user_header="X-User",
    role_header="X-Role",
    groups_header="X-Groups",
    groups={"ops": "operator", "staff": "viewer"},
)


def test_a_known_token_is_its_persons() -> None:
    assert Tokens([ANA, BOB]).find("b" * 20, NOW) is BOB


@pytest.mark.parametrize("given", ["", "a" * 19, "a" * 21, "A" * 20, "\ud800"])
def test_any_other_token_is_refused(given: str) -> None:
    with pytest.raises(SignInError, match="not known"):
        Tokens([ANA, BOB]).find(given, NOW)


def test_an_expired_token_is_refused_from_its_very_second() -> None:
    assert Tokens([BOB]).find("b" * 20, NOW + 59.9) is BOB
    with pytest.raises(SignInError, match="expired"):
        Tokens([BOB]).find("b" * 20, NOW + 60)


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", None), ("Bearer ", None), ("", None), ("abc", None)],
)
def test_a_bearer_header_holds_a_token(header: str, token: str | None) -> None:
    assert bearer(header) == token


def test_a_session_says_who_it_is_until_it_ends() -> None:
    sessions = Sessions(b"k" * 32)
    session, cookie = sessions.begin(NOW, Person("ana", Role.VIEWER), ANA)
    assert sessions.read(cookie, NOW + LONGEST_SESSION_S - 1) == session
    assert sessions.read(cookie, NOW + LONGEST_SESSION_S) is None


def test_a_session_ends_with_its_token() -> None:
    sessions = Sessions(b"k" * 32)
    _, cookie = sessions.begin(NOW, Person("bob", Role.ADMIN), BOB)
    assert sessions.read(cookie, NOW + 59) is not None
    assert sessions.read(cookie, NOW + 60) is None


def test_two_sessions_of_one_person_are_two() -> None:
    sessions = Sessions(b"k" * 32)
    assert sessions.begin(NOW)[0].id != sessions.begin(NOW)[0].id


def test_a_cookie_of_another_key_is_none() -> None:
    _, cookie = Sessions(b"k" * 32).begin(NOW)
    assert Sessions(b"o" * 32).read(cookie, NOW) is None


@given(st.data())
def test_a_changed_cookie_is_none(data: st.DataObject) -> None:
    sessions = Sessions(b"k" * 32)
    _, cookie = sessions.begin(NOW, Person("ana", Role.VIEWER))
    place = data.draw(st.integers(0, len(cookie) - 1))
    other = data.draw(st.characters().filter(lambda each: each != cookie[place]))
    assert sessions.opened(cookie[:place] + other + cookie[place + 1 :]) is None


@given(st.text(max_size=3000))
def test_no_text_is_a_session(text: str) -> None:
    assert Sessions(b"k" * 32).read(text, NOW) is None


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=400))
def test_what_is_signed_is_had_again_in_characters_that_a_cookie_may_have(text: str) -> None:
    sessions = Sessions(b"k" * 32)
    signed = sessions.signed(text)
    assert signed.isascii()
    assert not set(signed) & set(' ",;\\')
    assert sessions.opened(signed) == text


def test_the_key_is_the_same_for_the_same_tokens_in_any_order_and_another_for_any_other() -> None:
    one = ViewSettings(tokens=[ANA, BOB])
    assert session_key(one, "app") == session_key(ViewSettings(tokens=[BOB, ANA]), "app")
    others = [
        session_key(ViewSettings(tokens=[ANA]), "app"),
        session_key(ViewSettings(tokens=[ANA, BOB.model_copy(update={"role": Role.VIEWER})]), "app"),
        session_key(ViewSettings(tokens=[ANA, BOB], secret="s" * 20), "app"),
        session_key(one, "other"),
    ]
    assert len({session_key(one, "app"), *others}) == 5


@pytest.mark.parametrize(
    ("peer", "is_the_proxys"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::1", True),
        ("fd00::1%eth0", True),
        ("11.1.2.3", False),
        ("::ffff:11.1.2.3", False),
        ("", False),
        ("unix", False),
    ],
)
def test_the_proxy_is_known_by_its_address(peer: str, *, is_the_proxys: bool) -> None:
    assert is_trusted(peer, PROXY) is is_the_proxys
    assert not is_trusted(peer, None)


def test_the_highest_of_all_roles_counts() -> None:
    headers = as_lists([("X-User", " eve "), ("X-Groups", "staff, ops"), ("x-role", "Viewer")])
    assert vouched(PROXY, headers) == Person("eve", Role.OPERATOR)


@pytest.mark.parametrize(
    "pairs",
    [
        [("X-User", "eve")],
        [("X-User", "eve"), ("X-Groups", "unknown")],
        [("X-User", "eve"), ("X-Role", "root")],
        [("X-User", "eve"), ("X-User", "bob"), ("X-Role", "viewer")],
        [("X-User", "eve"), ("X-Role", "viewer"), ("X-Role", "admin")],
        [("X-User", "e" * 200), ("X-Role", "viewer")],
        [("X-User", "e\u202eve"), ("X-Role", "viewer")],
    ],
)
def test_who_has_no_clear_role_is_refused(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(ForbiddenError):
        vouched(PROXY, as_lists(pairs))


def test_whom_the_proxy_does_not_name_is_nobody() -> None:
    assert vouched(PROXY, as_lists([("X-Role", "admin")])) is None


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("1.2.3.4", "9.9.9.9", "1.2.3.4"),
        ("10.0.0.1", "9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", "6.6.6.6, 9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", "9.9.9.9, 10.0.0.2", "9.9.9.9"),
        ("10.0.0.1", "9.9.9.9, nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
    ],
)
def test_the_clients_address_is_what_the_proxy_saw(peer: str, forwarded: str, client: str) -> None:
    assert client_address(peer, forwarded, PROXY) == client


def test_each_role_may_do_what_those_before_it_may() -> None:
    may = [[role.includes(other) for other in Role] for role in Role]
    assert may == [[True, False, False], [True, True, False], [True, True, True]]
