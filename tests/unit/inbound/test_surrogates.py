import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inbound.surrogates import without_lone_surrogates

REPAIRED = [
    (rb'"\ud83d"', "\ufffd"),
    (rb'"\ude00"', "\ufffd"),
    (rb'"\ud83d\ude00"', "😀"),
    (rb'"\uD83D\uDE00"', "😀"),
    (rb'"\ud83d\ud83d\ude00"', "\ufffd😀"),
    (rb'"\ud83dA"', "\ufffdA"),
    (rb'"\ud83d\u0041"', "\ufffdA"),
    (rb'"\\ud83d"', r"\ud83d"),
    (rb'"\\\ud83d"', "\\\ufffd"),
    (rb'"\ude00\ud83d"', "\ufffd\ufffd"),
]


@pytest.mark.parametrize(("written", "meant"), REPAIRED)
def test_a_half_of_a_pair_is_replaced_and_nothing_else(written: bytes, meant: str) -> None:
    assert json.loads(without_lone_surrogates(written)) == meant


units = st.integers(0, 0xFFFF).map(chr) | st.integers(0xD800, 0xDFFF).map(chr)


@given(st.lists(units | st.sampled_from(["\\", '"', "u", "d83d"])).map("".join))
def test_texts_are_read_as_utf_16_with_errors_replaced(text: str) -> None:
    written = json.dumps(text).encode()
    # Half pairs as an UTF-16 decoder sees them: one replacement character for each.
    meant = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in json.loads(written))
    assert json.loads(without_lone_surrogates(written)) == meant
