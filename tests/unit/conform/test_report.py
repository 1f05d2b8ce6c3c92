import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.conform.judge import Grade, Reply
from pipeline.conform.report import Line, Report, about_answers, about_transport, failed_in

words = st.text(st.characters(codec="ascii", exclude_categories=("C",)), max_size=200)
lines = st.builds(Line, st.sampled_from(Grade), words, words, words, words)


def report_of(*given_lines: Line, was_cut_short: bool = False) -> Report:
    return Report("https://crm.example", "http", given_lines, 3, 1.25, was_cut_short)


@given(st.lists(lines))
def test_the_table_fits_80_columns_whatever_is_in_it(given_lines: list[Line]) -> None:
    assert max(len(line) for line in report_of(*given_lines).as_table().splitlines()) <= 80


@given(st.lists(lines), st.booleans())
def test_json_holds_every_line(given_lines: list[Line], cut_short: bool) -> None:  # noqa: FBT001
    report = report_of(*given_lines, was_cut_short=cut_short)
    content = json.loads(report.as_json())
    assert [check["name"] for check in content["checks"]] == [line.name for line in given_lines]
    assert content["passed"] is report.is_passed


@pytest.mark.parametrize(
    ("grades", "cut_short", "passed"),
    [
        ([Grade.PASS, Grade.WARN, Grade.SKIP], False, True),
        ([Grade.PASS, Grade.FAIL], False, False),
        ([Grade.PASS, Grade.SKIP], True, False),
    ],
)
def test_a_failure_or_an_early_end_fails_the_run(grades: list[Grade], cut_short: bool, passed: bool) -> None:  # noqa: FBT001
    report = report_of(*(Line(grade, "x", "", "") for grade in grades), was_cut_short=cut_short)
    assert report.is_passed is passed


def test_plain_http_is_a_warning() -> None:
    assert about_transport("https://crm.example").grade is Grade.PASS
    assert about_transport("http://127.0.0.1:8090").grade is Grade.WARN


def test_answers_that_name_failed_events_are_noticed() -> None:
    time, failed = about_answers(
        [Reply(200, 6.0), Reply(200, 0.1, head='{"failed": ["a", {"uuid": "b", "detail": "why"}]}')]
    )
    assert (time.grade, time.came) == (Grade.WARN, "6.0 s at most")
    assert (failed.grade, failed.came) == (Grade.WARN, "2 events")
    assert about_answers([]) == []


@pytest.mark.parametrize("head", ["", "ok", "[]", '{"failed": 3}', '{"failed": []}', '{"failed": ["a"', "\udcff"])
def test_any_other_answer_names_none(head: str) -> None:
    assert failed_in(head) == 0
