"""Rows of the list of integrations: parts of several workers make one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.view.pages.audit import changes_of
from agents.view.pages.integration import flat, sql_of
from agents.view.pages.overview import is_over
from agents.view.sources.integrations import combine_parts, state_of, success_of
from pipeline.notices.notice import Cause

PARTS = st.fixed_dictionaries(
    {
        "integration": st.just("crm"),
        "state": st.sampled_from(["ok", "failing", "retrying", "breaker open"]),
        "waiting": st.integers(0, 100),
        "tries_24h": st.none() | st.integers(0, 100),
        "delivered_tries_24h": st.integers(0, 10),
        "oldest_s": st.none() | st.floats(0, 100),
        "last_error_at": st.none() | st.integers(1, 100).map(float),
        "last_success_at": st.none() | st.integers(1, 100).map(float),
        "trend": st.none() | st.lists(st.integers(0, 9), min_size=3, max_size=3),
        "success": st.none(),
    }
).map(lambda part: {**part, "last_error": None if part["last_error_at"] is None else f"error {part['last_error_at']}"})


@given(PARTS, PARTS)
def test_parts_make_the_same_row_in_either_order(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert combine_parts(one, other) == combine_parts(other, one)


@given(PARTS, PARTS)
def test_the_newest_error_is_told_with_its_own_words(one: dict[str, Any], other: dict[str, Any]) -> None:
    row = combine_parts(one, other)

    assert row["last_error"] == (None if row["last_error_at"] is None else f"error {row['last_error_at']}")


def test_success_is_that_of_all_tries_together() -> None:
    one = {"tries_24h": 10, "delivered_tries_24h": 10, "success": 100.0}

    assert combine_parts(one, {"tries_24h": 30, "delivered_tries_24h": 0, "success": 0.0})["success"] == 25.0


@pytest.mark.parametrize(
    ("state", "success_at", "error_at", "told"),
    [
        ("ok", 1.0, 2.0, "failing"),
        ("ok", None, 2.0, "failing"),
        ("ok", 3.0, 2.0, "ok"),
        ("failing", 3.0, 2.0, "ok"),
        ("ok", None, None, "ok"),
        ("retrying", None, 2.0, "retrying"),
        ("paused", None, 2.0, "paused"),
    ],
)
def test_an_endpoint_whose_last_try_failed_is_failing(
    state: str, success_at: float | None, error_at: float | None, told: str
) -> None:
    assert state_of({"state": state, "last_success_at": success_at, "last_error_at": error_at}) == told


def test_a_success_on_one_worker_ends_a_failure_on_another_that_was_before() -> None:
    failing = {"state": "failing", "last_success_at": None, "last_error_at": 5.0}

    assert combine_parts(failing, {"state": "ok", "last_success_at": 6.0, "last_error_at": None})["state"] == "ok"
    assert combine_parts(failing, {"state": "ok", "last_success_at": 4.0, "last_error_at": None})["state"] == "failing"


def test_no_tries_are_no_success() -> None:
    assert success_of({"tries_24h": 0, "delivered_tries_24h": 0}) is None


def test_settings_have_a_key_with_dots_each() -> None:
    assert dict(flat({"id": "crm", "batch": {"max_events": 5}, "tags": {}})) == {
        "id": "crm",
        "batch.max_events": 5,
        "tags": {},
    }


def test_a_quote_in_a_name_stays_inside_the_query() -> None:
    assert "'o''neil'" in sql_of("o'neil")


def test_an_audit_entry_tells_before_and_after() -> None:
    assert changes_of({"url": ["a", "b"], "count": 3}) == [
        {"key": "url", "before": "a", "after": "b"},
        {"key": "count", "before": None, "after": 3},
    ]


def test_refused_credentials_are_over_once_a_try_delivers() -> None:
    notice = {"cause": Cause.CREDENTIALS_REFUSED.value, "integration": "crm", "at": 10.0}

    assert not is_over(notice, {"last_success_at": 9.0}, is_whole=True)
    assert is_over(notice, {"last_success_at": 11.0}, is_whole=True)
