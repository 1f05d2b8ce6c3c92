"""What needs attention: which figures make a line, in which order, with what words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.delivery.pending import PARKED_KEPT_S
from pipeline.notices.notice import Cause
from pipeline.view.attention import Attention, Level, Signs, counted, duration, needs_attention, summary

NOW = 1_800_000_000.0


def totals(**figures: Any) -> dict[str, Any]:
    return {"missing": 0, "oldest_parked_at": None, "parked": 0, **figures}


def worker(**figures: Any) -> dict[str, Any]:
    return {
        "worker": "http://w1", "state": "ok", "lag": 0, "lag_s": 0.0, "arriving_s": 0.0, "events_s": 0.0, **figures,
    }  # fmt: skip


def held(**figures: Any) -> dict[str, Any]:
    return {"integration": "crm", "state": "breaker open", "since": NOW - 60, "failures": 5, "waiting": 7, **figures}


def found(**signs: Any) -> list[Attention]:
    return needs_attention(Signs(now_s=NOW, **{"totals": totals(), **signs}))


def test_nothing_is_wrong_where_nothing_is() -> None:
    assert found(workers=[worker()]) == []


def test_an_open_breaker_is_critical_and_leads_to_its_integration() -> None:
    only = found(held=[held()])[0]

    assert (only.level, only.where, only.since, only.count) == (Level.CRITICAL, "crm", NOW - 60, 7)
    assert only.path == "/integrations/crm"
    assert only.what == "The breaker is open: 5 tries failed one after the other; 7 events wait"


def test_breakers_that_have_no_line_of_their_own_are_counted() -> None:
    lines = found(held=[held(integration=f"i{number}") for number in range(10)], held_count=250)

    assert [line.count for line in lines if line.where == "integrations"] == [240]


def test_an_endpoint_that_is_gone_says_so() -> None:
    assert "gone" in found(held=[held(state="gone", failures=0)])[0].what


def test_an_endpoint_that_asked_for_a_long_pause_is_worth_a_look_and_no_alarm():
    only = found(held=[held(state="told to wait", failures=3, since=None)])[0]
    assert (only.level, "asked to be left alone" in only.what) == (Level.WARNING, True)


def test_partitions_that_nobody_answers_for_are_named() -> None:
    only = found(missing=(3, 5))[0]

    assert (only.level, only.where, only.count) == (Level.CRITICAL, "partitions 3, 5", 2)


def test_a_ledger_that_does_not_balance_is_critical() -> None:
    assert found(totals=totals(missing=4))[0].what.startswith("The ledger does not balance: 4 matched events")


def test_a_ledger_with_missing_partitions_is_not_blamed() -> None:
    assert all("ledger" not in line.what for line in found(totals=totals(missing=4), missing=(1,)))


@pytest.mark.parametrize(("arriving", "word"), [(100.0, "grows"), (10.0, "shrinks")])
def test_lag_says_whether_it_grows(arriving: float, word: str) -> None:
    only = found(workers=[worker(lag=900, lag_s=60.0, arriving_s=arriving, events_s=50.0)])[0]

    assert word in only.what
    assert (only.since, only.count) == (NOW - 60, 900)


def test_lag_that_nears_the_retention_says_that_events_will_be_lost() -> None:
    only = found(workers=[worker(lag=9, lag_s=3000.0)], source_retention_s=3600.0)[0]

    assert (only.level, "will be lost" in only.what) == (Level.CRITICAL, True)


def test_parked_batches_about_to_expire_are_critical() -> None:
    only = found(totals=totals(oldest_parked_at=NOW - PARKED_KEPT_S + 3600, parked=12))[0]

    assert only.what.startswith("Parked batches can be replayed for 1 h more")


def test_refused_credentials_lead_to_the_tries_that_were_refused() -> None:
    only = found(notices=[{"cause": Cause.CREDENTIALS_REFUSED.value, "integration": "crm", "at": NOW - 5}])[0]

    assert dict(only.parameters) == {"integration": "crm", "status__in": "401,403"}


def test_what_is_not_known_is_neither_fine_nor_bad() -> None:
    assert needs_attention(Signs(now_s=NOW, totals=None, workers=[worker(lag=None, lag_s=None)])) == []


def test_nothing_wrong_is_not_said_where_somebody_did_not_answer() -> None:
    assert summary([], is_complete=False) != summary([], is_complete=True)


@given(st.lists(st.floats(0, 1e6), max_size=8), st.integers(0, 50), st.integers(0, 50), st.integers(-5, 5))
def test_the_worst_comes_first_and_of_equals_the_oldest(
    ages: list[float], parked: int, dead: int, missing: int
) -> None:
    lines = found(
        totals=totals(missing=missing),
        held=[held(since=NOW - age) for age in ages],
        parked_lately=parked,
        dead_letters=dead,
    )
    order = [(line.level is Level.WARNING, line.since or 0.0) for line in lines]

    assert order == sorted(order)


@given(st.floats(0, 1e9))
def test_a_duration_has_at_most_two_units(seconds: float) -> None:
    assert len(duration(seconds).split()) in {2, 4}


@pytest.mark.parametrize(("count", "words"), [(1, "1 event"), (0, "0 events"), (2000, "2,000 events")])
def test_nouns_follow_their_number(count: int, words: str) -> None:
    assert counted(count, "event") == words
