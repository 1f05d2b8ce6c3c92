"""The ledger in a sentence."""

import re

from hypothesis import given
from hypothesis import strategies as st

from pipeline.view.balance import PARTS, balance_sentence, why_of

FIGURES = st.fixed_dictionaries({name: st.integers(0, 10**9) for name, _ in PARTS})


@given(FIGURES)
def test_the_figures_of_a_balanced_ledger_add_up_to_what_matched(figures: dict[str, int]) -> None:
    said = balance_sentence({**figures, "matched": sum(figures.values()), "missing": 0})
    numbers = [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", said)]

    assert not numbers or numbers[0] == sum(numbers[1:])


@given(FIGURES, st.integers(-1000, 1000).filter(bool))
def test_a_ledger_that_does_not_balance_says_so(figures: dict[str, int], missing: int) -> None:
    row = {**figures, "matched": sum(figures.values()) + missing, "missing": missing}

    assert balance_sentence(row).endswith("The ledger does not balance.")


def test_an_integration_without_events_says_that() -> None:
    assert (
        balance_sentence({"matched": 0, "missing": 0, **{name: 0 for name, _ in PARTS}}) == "No event has matched yet."
    )


def test_a_disabled_integration_says_what_waits() -> None:
    assert "1,200 sealed events wait" in why_of("paused", None, waiting=1200)
