"""Many workers' rows as one, compared with one worker that has all rows."""

from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from pipeline.view.apply import select
from pipeline.view.columns import Column, Kind
from pipeline.view.merge import add_counts, add_facets, combine_rows, merge_pages, merge_streams
from pipeline.view.query import Query, parse_cursor
from pipeline.view.selecting import Selecting, SortedRuns

COLUMNS = (Column("id", "Id", Kind.INTEGER), Column("size", "Size", Kind.INTEGER), Column("word", "Word"))

VALUES = st.none() | st.integers(-3, 3) | st.sampled_from(["a", "b", "\u202e", ""])
ROWS = st.lists(st.tuples(VALUES, st.sampled_from("xyz")), max_size=40).map(
    lambda pairs: [{"id": number, "size": size, "word": word} for number, (size, word) in enumerate(pairs)]
)
WORKERS = st.integers(1, 4)
ORDERS = st.builds(
    lambda sort, is_descending, limit: Query(
        sort=sort, is_descending=is_descending, key="id", limit=limit, facets=("word",)
    ),
    st.sampled_from(["id", "size", "word"]),
    st.booleans(),
    st.integers(1, 8),
)


def shared(rows: list[dict], workers: int) -> list[list[dict]]:
    return [[row for row in rows if row["id"] % workers == number] for number in range(workers)]


async def each(rows: list[dict]) -> AsyncIterator[dict]:
    for row in rows:
        yield row


@given(ROWS, WORKERS, ORDERS)
def test_a_page_is_the_one_that_a_single_worker_would_give(rows, workers, query):
    whole = select(rows, query, COLUMNS)
    pages = [select(part, query, COLUMNS) for part in shared(rows, workers)]
    merged = merge_pages([(page.rows, page.has_more) for page in pages], query)
    assert (merged.rows, merged.has_more) == (whole.rows, whole.has_more)


@given(ROWS, WORKERS, ORDERS)
def test_pages_one_after_the_other_meet_every_row_once(rows, workers, query):
    found, asked = [], query
    while True:
        pages = [select(part, asked, COLUMNS) for part in shared(rows, workers)]
        merged = merge_pages([(page.rows, page.has_more) for page in pages], asked)
        found += merged.rows
        if not merged.next_cursor:
            break
        asked = Query(
            sort=query.sort,
            is_descending=query.is_descending,
            key="id",
            limit=query.limit,
            after=parse_cursor(merged.next_cursor),
        )
    everything = Query(sort=query.sort, is_descending=query.is_descending, key="id", limit=None)
    assert found == select(rows, everything, COLUMNS).rows


@given(ROWS, WORKERS, ORDERS)
def test_facets_and_counts_add_up(rows, workers, query):
    whole = select(rows, query, COLUMNS)
    pages = [select(part, query, COLUMNS) for part in shared(rows, workers)]
    assert dict(add_facets(page.facets for page in pages)["word"]) == dict(whole.facets["word"])
    assert add_counts(page.matching for page in pages) == whole.matching


def test_a_count_that_one_does_not_know_is_not_known():
    assert add_counts([1, None, 2]) is None


@given(rows=ROWS, workers=WORKERS, query=ORDERS)
async def test_streams_come_out_in_order(rows, workers, query):
    endless = Query(sort=query.sort, is_descending=query.is_descending, key="id", limit=None)
    streams = [each(select(part, endless, COLUMNS).rows) for part in shared(rows, workers)]
    found = [row async for row in merge_streams(streams, endless)]
    assert found == select(rows, endless, COLUMNS).rows


async def test_a_stream_is_read_no_further_than_it_is_needed():
    read: list[int] = []

    async def counted() -> AsyncIterator[dict]:
        for number in range(1000):
            read.append(number)
            yield {"id": number}

    merged = merge_streams([counted(), each([{"id": 5000}])], Query(sort="id", key="id", limit=None))
    assert [(await anext(merged))["id"] for _ in range(10)] == list(range(10))
    assert len(read) <= 11
    await merged.aclose()


class Added:
    combined = frozenset({"size"})

    def combine(self, one: dict, other: dict) -> dict:
        return {**one, "size": one["size"] + other["size"]}


def test_parts_of_one_row_are_put_together():
    rows = [{"id": "a", "size": 1}, {"id": "b", "size": 5}, {"id": "a", "size": 2}]
    assert combine_rows(rows, "id", Added()) == [{"id": "a", "size": 3}, {"id": "b", "size": 5}]


# rows that come one by one


@given(ROWS, ORDERS)
def test_selecting_row_by_row_gives_what_selecting_at_once_gives(rows, query):
    selecting = Selecting(query, COLUMNS)
    for row in rows:
        selecting.add(row)
    assert selecting.result() == select(rows, query, COLUMNS)


@given(rows=ROWS, query=ORDERS, run_rows=st.integers(1, 7))
async def test_runs_in_a_file_come_out_in_order(rows, query, run_rows):
    endless = Query(sort=query.sort, is_descending=query.is_descending, key="id", limit=None)
    runs = SortedRuns(endless, run_rows)
    try:
        for row in rows:
            runs.add(row)
        assert [row async for row in runs.rows()] == select(rows, endless, COLUMNS).rows
    finally:
        runs.close()
