"""Where rows of the view come from: what every worker answers for its own part of a whole."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pipeline.view.apply import FACET_VALUES_A_SHARD, select
from pipeline.view.columns import Columns, Personal, Row
from pipeline.view.mask import mask_row, masked_query
from pipeline.view.query import Query

Facets = dict[str, list[tuple[Any, int]]]
"""For each column asked for: its values and how many rows have them, the most frequent first."""


class Answer(NamedTuple):
    """What a source found: filtered, masked, in the query's order and within its limit.

    ``has_more`` says that rows follow after the last one. ``matching`` counts all that match, wherever the page begins;
    ``None`` where that is not known. ``is_truncated`` says that the source stopped at a limit of its own. Rows that come as
    an iterator are made while they are read, and the source may stop with a ``ViewError`` then.
    """

    rows: list[Row] | AsyncIterator[Row]
    has_more: bool = False
    matching: int | None = None
    facets: Facets = {}  # noqa: RUF012 nobody changes it
    is_truncated: bool = False


class Source(Protocol):
    """Rows of one kind, of which each worker has those of its partitions.

    ``key`` names the column that is different in every row of all workers; ``sort`` and ``is_descending`` are the order where
    a viewer asks for none.
    """

    name: str
    columns: Columns
    key: str
    sort: str
    is_descending: bool

    def partitions(self) -> frozenset[int]:
        """The routed partitions that this worker answers for just now."""
        ...

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find rows; what ``masks`` names is masked before it is filtered, searched or ordered by."""
        ...


@runtime_checkable
class SharedSource(Protocol):
    """A source whose rows every worker has whole, of Kafka's own figures for instance: the worker that is asked answers."""

    is_shared: bool


@runtime_checkable
class CombinedSource(Protocol):
    """A source of which several workers may have parts of one row, a sum for instance.

    Such parts are gathered whole and put together before anything is filtered, ordered or cut by the columns that
    ``combined`` names; conditions on others are the workers' own work.
    """

    combined: frozenset[str]

    def combine(self, one: Row, other: Row) -> Row:
        """Make one row of two parts with the same key."""
        ...


@runtime_checkable
class NarrowSource(CombinedSource, Protocol):
    """A combined source that puts together parts which have some of their columns alone.

    With thousands of rows that saves most of the work: a page is found by the columns that decide it, and only its own rows
    are asked for whole.
    """

    combines_narrow_rows: bool


@runtime_checkable
class MadeSource(NarrowSource, Protocol):
    """A narrow source some of whose columns are put together from others, a share from two sums for instance.

    ``made_of`` names the columns that ``combine`` needs for such a one.
    """

    made_of: Mapping[str, tuple[str, ...]]


def answer_of(rows: Iterable[Row], query: Query, columns: Columns, masks: frozenset[Personal]) -> Answer:
    """What a source answers that has all its rows in memory: masked, then filtered, ordered and cut."""
    shown = (mask_row(columns, row, masks) for row in rows) if masks else rows
    selected = select(shown, masked_query(query, columns, masks), columns, FACET_VALUES_A_SHARD)
    return Answer(selected.rows, selected.has_more, selected.matching, selected.facets)
