"""What the index finds is what a plain walk over the same rows finds."""

import string
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ViewQueryError
from pipeline.view.apply import select
from pipeline.view.columns import Kind, Personal
from pipeline.view.index.search import histogram, search, stream
from pipeline.view.index.store import Index
from pipeline.view.index.tables import ATTEMPTS
from pipeline.view.mask import mask_row, mask_value, masked_query
from pipeline.view.query import Condition, Operator, Query, parse_query
from tests.support.index_records import Topics, attempt

TEXTS = st.sampled_from(
    ["crm:0-100", "web", "CRM", "", "retry", "delivered", "50%", "_", "'; DROP TABLE attempts; --", "é"]
)
NUMBERS = st.one_of(st.integers(-3, 600), st.sampled_from([0.25, 1000.5, 10**40, -1]))
SORTABLE = [column.name for column in ATTEMPTS.columns if column.is_sortable]
RANGES = [Operator.GREATER, Operator.AT_LEAST, Operator.LESS, Operator.AT_MOST]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("index")
    index = Index(lambda: folder)
    index.open()
    topics = Topics()
    finals = [None, "delivered", "parked", "discarded"]
    index.write(
        topics.staged(
            *(
                attempt(
                    f"{'crm' if number % 3 else 'web~1'}:{number * 100}-{number * 100 + 100}",
                    number % 5,
                    finals[number % 4],
                    at=1000.0 + (number * 7) % 13,
                    status=None if number % 6 == 0 else 100 * (number % 6),
                    detail=["50% done", "a_b", "It's é", "no ana@mail.example"][number % 4],
                    answer_head=["", "secret one", "secret two"][number % 3],
                )
                for number in range(60)
            )
        )
    )
    yield index
    index.close()


@pytest.fixture(scope="module")
def rows(index: Index) -> list[dict]:
    with index.cursor() as cursor:
        every = Query(sort="place", key="place", limit=None)
        return [row for some in stream(cursor, ATTEMPTS, every) for row in some]


@st.composite
def conditions(draw) -> Condition:
    column = draw(st.sampled_from(ATTEMPTS.columns))
    is_text = column.kind in {Kind.TEXT, Kind.CODE, Kind.STATE, Kind.JSON}
    values = TEXTS if is_text else NUMBERS
    operator = draw(st.sampled_from([*Operator]))
    match operator:
        case Operator.BLANK:
            return Condition(column.name, operator, draw(st.booleans()))
        case Operator.IN:
            return Condition(column.name, operator, tuple(draw(st.lists(values, max_size=4))))
        case Operator.CONTAINS:
            return Condition(column.name, operator, draw(TEXTS if is_text else st.sampled_from(["1", "0", "5"])))
    return Condition(column.name, operator, draw(values))


QUERIES = st.builds(
    Query,
    conditions=st.lists(conditions(), max_size=3).map(tuple),
    text=st.one_of(st.just(""), TEXTS, st.text(string.printable, max_size=3)),
    sort=st.sampled_from(SORTABLE),
    is_descending=st.booleans(),
    key=st.just("place"),
    limit=st.integers(1, 30),
    facets=st.lists(st.sampled_from(["verdict", "status", "final", "attempt", "integration"]), unique=True).map(tuple),
)


@given(query=QUERIES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_query_finds_in_the_index_what_it_finds_in_memory(index: Index, rows: list[dict], query: Query) -> None:
    with index.cursor() as cursor:
        found = search(cursor, ATTEMPTS, query)
    expected = select(rows, query, ATTEMPTS.columns)
    assert found.rows == expected.rows
    assert (found.has_more, found.matching) == (expected.has_more, expected.matching)
    for name, counts in expected.facets.items():
        assert dict(found.facets[name]) == dict(counts)


@given(sort=st.sampled_from(SORTABLE), is_descending=st.booleans(), limit=st.integers(1, 25))
@settings(max_examples=40, deadline=None)
def test_pages_that_follow_each_other_hold_every_row_once(
    index: Index, rows: list[dict], *, sort: str, is_descending: bool, limit: int
) -> None:
    query = Query(sort=sort, is_descending=is_descending, key="place", limit=limit)
    seen = []
    with index.cursor() as cursor:
        while True:
            page = search(cursor, ATTEMPTS, query)
            seen += page.rows
            if not page.has_more:
                break
            query = replace(query, after=(page.rows[-1][sort], page.rows[-1]["place"]))
    assert seen == select(rows, replace(query, after=None, limit=None), ATTEMPTS.columns).rows


@pytest.mark.parametrize("operator", [Operator.EXACT, Operator.NOT, Operator.IN])
def test_a_masked_column_is_compared_by_its_tag_alone(index: Index, rows: list[dict], operator: Operator) -> None:
    masks = frozenset({Personal.PAYLOAD})
    value = ("secret one",) if operator is Operator.IN else "secret one"
    query = Query((Condition("answer_head", operator, value),), sort="at", key="place", facets=("answer_head",))
    with index.cursor() as cursor:
        found = search(cursor, ATTEMPTS, query, masks)
    masked = [mask_row(ATTEMPTS.columns, row, masks) for row in rows]
    expected = select(masked, masked_query(query, ATTEMPTS.columns, masks), ATTEMPTS.columns)
    assert found.rows == expected.rows
    assert dict(found.facets["answer_head"]) == dict(expected.facets["answer_head"])
    assert mask_value(Personal.PAYLOAD, "secret one") != "secret one"


def test_masked_text_is_not_found_by_a_part_of_it(index: Index) -> None:
    query = Query(text="secret", sort="at", key="place")
    with index.cursor() as cursor:
        assert search(cursor, ATTEMPTS, query).matching == 40
        assert search(cursor, ATTEMPTS, query, frozenset({Personal.PAYLOAD})).matching == 0


@pytest.mark.parametrize("operator", [each for each in Operator if each is not Operator.BLANK])
@pytest.mark.parametrize("text", ["no ana@mail.example", "ana", "done", "email:", "a_b"])
def test_text_that_quotes_is_compared_as_it_is_seen(
    index: Index, rows: list[dict], operator: Operator, text: str
) -> None:
    masks = frozenset({Personal.EMAIL})
    value = (text,) if operator is Operator.IN else text
    query = Query((Condition("detail", operator, value),), sort="at", key="place", facets=("detail",))
    with index.cursor() as cursor:
        found = search(cursor, ATTEMPTS, query, masks)
    masked = [mask_row(ATTEMPTS.columns, row, masks) for row in rows]
    expected = select(masked, masked_query(query, ATTEMPTS.columns, masks), ATTEMPTS.columns)
    assert found.rows == expected.rows
    assert dict(found.facets["detail"]) == dict(expected.facets["detail"])
    assert not any("ana@" in row["detail"] for row in found.rows)


def test_an_address_that_is_quoted_is_not_found_by_a_part_of_it(index: Index) -> None:
    query = Query(text="ana@mail", sort="at", key="place")
    with index.cursor() as cursor:
        assert search(cursor, ATTEMPTS, query).matching == 15
        assert search(cursor, ATTEMPTS, query, frozenset({Personal.EMAIL})).matching == 0


def test_text_that_quotes_is_not_sorted_by_for_whom_it_is_masked(index: Index) -> None:
    with index.cursor() as cursor, pytest.raises(ViewQueryError, match="sort"):
        search(cursor, ATTEMPTS, Query(sort="detail", key="place"), frozenset({Personal.EMAIL}))


def test_rows_are_counted_by_time_and_value(index: Index, rows: list[dict]) -> None:
    query = parse_query([("status__gt", "300")], ATTEMPTS.columns, key="place", sort="at")
    with index.cursor() as cursor:
        counts = histogram(cursor, ATTEMPTS, query, split_by="verdict", width_s=5.0)
    meant = [row for row in rows if (row["status"] or 0) > 300]
    assert sum(count for _, _, count in counts) == len(meant)
    assert all(
        count == sum(slot <= row["at"] < slot + 5 and row["verdict"] == verdict for row in meant)
        for slot, verdict, count in counts
    )


@pytest.mark.parametrize("after", [("text", 1), (1.0, "text"), (True, None)])
def test_a_cursor_of_another_list_is_refused(index: Index, after: tuple) -> None:
    query = Query(sort="at", key="place", after=after)
    with index.cursor() as cursor, pytest.raises(ViewQueryError, match="after"):
        search(cursor, ATTEMPTS, query)


def test_a_column_that_cannot_be_sorted_by_is_refused(index: Index) -> None:
    with index.cursor() as cursor, pytest.raises(ViewQueryError, match="sort"):
        search(cursor, ATTEMPTS, Query(sort="answer_head", key="place"))
