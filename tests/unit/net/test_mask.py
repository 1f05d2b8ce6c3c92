"""What an endpoint sends back holds no secret, however it spells it."""

import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.net.mask import MASK, Mask

SECRET = 'abcd/efgh"ijkl+mnop=='
SPELLINGS = {
    "as it is": lambda text: text,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with slashes escaped": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON with signs as numbers": lambda text: "".join(
        each if each.isalnum() else f"\\u{ord(each):04x}" for each in text
    ),
    "JSON with signs as numbers in capitals": lambda text: "".join(
        each if each.isalnum() else f"\\u{ord(each):04X}" for each in text
    ),
    "percent signs": lambda text: quote(text, safe=""),
    "HTML": html.escape,
    "HTML by numbers": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "HTML by hexadecimal numbers": lambda text: "".join(f"&#x{ord(each):x};" for each in text),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text).replace("/", "\\/"))[1:-1],
    "a URL in JSON": lambda text: json.dumps("?token=" + quote(text))[1:-1],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_hidden_in_every_spelling(spelling: str) -> None:
    shown = Mask([SECRET]).hide(f'{{"you sent": "{SPELLINGS[spelling](SECRET)}", "and": "no more"}}')
    assert MASK in shown
    assert not any(part in shown for part in ("abcd", "efgh", "ijkl", "mnop"))
    assert shown.startswith('{"you sent": "')
    assert shown.endswith('", "and": "no more"}')


@given(
    st.text(st.sampled_from('ab/"\\%&+=é'), min_size=4, max_size=12),
    st.sampled_from(sorted(SPELLINGS)),
    st.text(st.sampled_from("xyz .,"), max_size=5),
    st.integers(0, 60),
)
def test_whatever_the_secret_is_nothing_longer_than_three_of_its_characters_is_shown(
    secret: str, spelling: str, before: str, cut: int
) -> None:
    spelt = SPELLINGS[spelling](secret)
    for text in (f"{before}{spelt} {spelt}.", f"{before}{spelt}"[:cut]):
        shown = Mask([secret]).hide(text)
        assert secret not in shown
        assert spelt not in shown


def test_the_beginning_of_a_secret_is_hidden_where_the_text_was_cut_off() -> None:
    mask = Mask([SECRET])
    assert mask.hide("got abcd/e") == "got ***"
    assert mask.hide("got abcd/e\N{HORIZONTAL ELLIPSIS}") == "got ***"
    assert mask.hide("got abcd\\") == "got ***"
    assert mask.hide("got abcd%2") == "got ***"
    assert mask.hide("got abc") == "got abc"
    assert mask.hide("abcd is how it begins") == "abcd is how it begins"


def test_what_holds_no_secret_stays_as_it_is() -> None:
    text = 'a \\"b\\" %41 &amp; \\ud83d ***'
    assert Mask([SECRET, "abc", ""]).hide(text) == text


def test_a_secret_that_looks_like_an_escape_is_found_as_it_is() -> None:
    assert Mask(["%41%42%43"]).hide("token %41%42%43!") == "token ***!"


def test_secrets_that_overlap_are_hidden_together() -> None:
    assert Mask(["Bearer abcdef", "abcdef"]).hide("Authorization: Bearer abcdef.") == "Authorization: ***."


def test_more_secrets_count_for_one_text() -> None:
    mask = Mask([SECRET])
    assert mask.hide("token-1 token-2", ["token-1"]) == "*** token-2"
    assert mask.hide("token-1") == "token-1"
