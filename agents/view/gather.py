"""Rows of all workers as one answer.

Every worker filters, masks, orders and cuts its own rows; the one that is asked merges what comes. What is missing is part of
the answer: a worker that is silent, starts or gives its partitions away is named, with the partitions that nobody answered for.
A worker that answers for its own part asks nobody else.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from agents.view.peers import Peers, SilentWorkerError
from agents.view.shards import (
    Asked,
    Head,
    Reply,
    as_lines,
    close_all,
    decode,
    encode,
    is_moving,
    leave_out_former_owners,
    only_columns,
)
from pipeline.clock import Clock
from pipeline.errors import NotFoundError, UnavailableError, ViewError, ViewQueryError
from pipeline.view.apply import select
from pipeline.view.columns import Columns, Personal, Row
from pipeline.view.coverage import EVERYTHING, Coverage, Shard, covered, joined
from pipeline.view.mask import masked_query
from pipeline.view.merge import add_counts, add_facets, combine_rows, cursor_of, merge_pages, merge_streams
from pipeline.view.page import Section
from pipeline.view.query import Condition, Operator, Query, parse_query
from pipeline.view.sentence import sentence
from pipeline.view.source import Answer, CombinedSource, Facets, MadeSource, NarrowSource, SharedSource, Source

PATH: Final = "rows"
DEADLINE_S: Final = 0.8
"""How long each worker has: so that a page is there within a second, whoever hangs."""
AGAIN_AFTER_S: Final = 0.3


class Asking(Protocol):
    """What of a visit a table depends on."""

    match: dict[str, str]
    parameters: list[tuple[str, str]]
    masks: frozenset[Personal]

    def promise(self) -> None:
        """The question makes sense, so there will be an answer."""


class Gathered(NamedTuple):
    """The answer of all workers. ``rows`` are made as they are read where the query has no limit, else they are here.

    ``shown`` is the number of rows of a page, ``None`` where it has no end.
    """

    rows: AsyncIterator[Row]
    next_cursor: str
    matching: int | None
    facets: Facets
    coverage: Coverage
    shown: int | None = None


class Gather:
    """Asks all workers for rows of a source, and answers for this one's part."""

    def __init__(self, peers: Peers, clock: Clock) -> None:
        self.peers = peers
        self._clock = clock
        self._sources: dict[str, Source] = {}
        peers.serve(PATH, self._shard)

    def offer(self, source: Source) -> None:
        """Answer for ``source`` from now on; every worker offers the same ones."""
        self._sources[source.name] = source

    def source(self, name: str) -> Source:
        """A source by its name; raises ``NotFoundError``."""
        source = self._sources.get(name)
        if source is None:
            raise NotFoundError(f"there is no {name[:80]!r} here")
        return source

    def names(self) -> list[str]:
        """All sources, in the order in which they were offered."""
        return list(self._sources)

    async def ask(
        self,
        source_name: str,
        query: Query,
        masks: frozenset[Personal] = frozenset(),
        *,
        deadline_s: float = DEADLINE_S,
        worker: str | None = None,
    ) -> Gathered:
        """Find rows on all workers, or on the one at ``worker`` alone.

        Each has ``deadline_s`` for its page, or for the first of its rows where the query has no limit. Raises
        ``NotFoundError`` for an unknown source or worker, ``ViewQueryError`` for a question that none can answer, and
        ``UnavailableError`` while rows without a limit are read, where a worker goes away in between.
        """
        source = self.source(source_name)
        masked_query(query, source.columns, masks)
        if isinstance(source, NarrowSource) and query.limit is not None and _finds_many(query, source.key):
            return await self._narrowly(source, query, masks, deadline_s, worker)
        if isinstance(source, SharedSource) and source.is_shared:
            return await self._whole(source, query, masks)
        return await self._gathered(source, query, masks, deadline_s, worker)

    async def _narrowly(
        self, source: Source, query: Query, masks: frozenset[Personal], deadline_s: float, worker: str | None
    ) -> Gathered:
        """Find out which rows make up the page by the columns that decide it, then ask for these rows alone."""
        began_s = time.monotonic()
        decisive = _decisive(query, source)
        found = await self._gathered(source, query, masks, deadline_s, worker, only=decisive)
        if not found.shown:
            return found
        keys = [row[source.key] async for row in found.rows]
        wanted = Query(sort=source.key, key=source.key, limit=None).where(source.key, keys, Operator.IN)
        left_s = max(deadline_s / 4, deadline_s - (time.monotonic() - began_s))
        whole = await self._gathered(source, wanted, masks, left_s, worker)
        rows = {row[source.key]: row async for row in whole.rows}
        page = [rows[key] for key in keys if key in rows]
        coverage = whole.coverage if found.coverage.is_complete else joined((found.coverage, whole.coverage))
        return found._replace(rows=_each(page), coverage=coverage, shown=len(page))

    async def _gathered(
        self,
        source: Source,
        query: Query,
        masks: frozenset[Personal],
        deadline_s: float,
        worker: str | None,
        *,
        only: Sequence[str] = (),
    ) -> Gathered:
        owners = self._asked_workers(worker)
        sent = _for_parts(query, source) if isinstance(source, CombinedSource) else query
        asked = encode(Asked(source.name, sent, masks, list(only)))
        is_page = query.limit is not None or isinstance(source, CombinedSource)
        replies = await self._ask_all(owners, asked, deadline_s, is_page=is_page)
        if is_moving(replies):
            # Partitions are changing hands: a moment later the assignment is most often known to all.
            await close_all(replies)
            await asyncio.sleep(AGAIN_AFTER_S)
            owners = self._asked_workers(worker)
            replies = await self._ask_all(owners, asked, deadline_s, is_page=is_page)
        leave_out_former_owners(replies)
        expected = self.peers.partitions if worker is None else sorted(owners[worker])
        shards = [reply.shard() for reply in replies if reply.expected or not reply.problem]
        coverage = covered(shards, expected)
        usable = [reply for reply in replies if not reply.problem]
        if isinstance(source, CombinedSource):
            rows = combine_rows((row for reply in usable for row in reply.rows or ()), source.key, source)
            return _selected(rows, query, source.columns, coverage)
        if query.limit is None:
            return _endless(usable, query, coverage)
        return _page(usable, query, coverage)

    async def section(
        self,
        name: str,
        source_name: str,
        visit: Asking,
        *,
        what: str = "rows",
        reads_url: bool = True,
        limit: int | None = -1,
        deadline_s: float = DEADLINE_S,
        worker: str | None = None,
        **fixed: Any,
    ) -> Section:
        """A table of a page: what the URL asks of the source, on top of ``fixed`` conditions (``column`` or ``column__op``).

        ``what`` names the rows in the heading. A second table on a page does not read the URL (``reads_url``). ``limit`` is
        that of the URL unless it is given; an export has none. Where the path names nothing that may be missing, a URL that
        makes sense is all that a page depends on: it is promised.
        """
        source = self.source(source_name)
        parameters = visit.parameters if reads_url else []
        query = parse_query(
            parameters, source.columns, key=source.key, sort=source.sort, is_descending=source.is_descending
        )
        if limit != -1:
            query = replace(query, limit=limit)
        asked = replace(query, conditions=(*query.conditions, *_conditions(fixed)))
        if reads_url and not visit.match:
            masked_query(asked, source.columns, visit.masks)
            visit.promise()
        found = await self.ask(source_name, asked, visit.masks, deadline_s=deadline_s, worker=worker)
        return Section(
            name=name,
            columns=source.columns,
            rows=found.rows,
            heading=sentence(what, query, source.columns, matching=found.matching, shown=found.shown),
            query=query if reads_url else None,
            next_cursor=found.next_cursor,
            facets=found.facets,
            coverage=found.coverage,
        )

    # asking

    def _asked_workers(self, worker: str | None) -> dict[str, frozenset[int]]:
        owners = self.peers.owners()
        if worker is not None:
            if worker not in owners and worker != self.peers.own_url:
                raise NotFoundError(f"there is no worker {worker[:200]}; it may have left")
            return {worker: owners.get(worker, frozenset())}
        owners.setdefault(self.peers.own_url, frozenset())
        return owners

    async def _ask_all(
        self, owners: dict[str, frozenset[int]], asked: bytes, deadline_s: float, *, is_page: bool
    ) -> list[Reply]:
        replies = [Reply(url, partitions) for url, partitions in sorted(owners.items())]
        done = await asyncio.gather(
            *(self._ask_one(reply, asked, deadline_s, is_page=is_page) for reply in replies), return_exceptions=True
        )
        mistake = next((each for each in done if each is not None), None)
        if mistake is not None:
            await close_all(replies)
            raise mistake
        return replies

    async def _ask_one(self, reply: Reply, asked: bytes, deadline_s: float, *, is_page: bool) -> None:
        rows = self._rows(reply, asked, deadline_s)
        reply.stream = rows
        try:
            async with asyncio.timeout(deadline_s):
                await anext(rows)  # the head
                if is_page and not reply.problem:
                    reply.rows = [row async for row in rows]
        except TimeoutError:
            reply.problem = f"nothing came within {deadline_s:g} s"
        except SilentWorkerError as error:
            reply.problem = error.why
        except ViewQueryError:
            raise  # it would be the same on every worker
        except ViewError as error:
            reply.problem = str(error)
        finally:
            if is_page or reply.problem:
                await rows.aclose()
                reply.stream = None

    async def _rows(self, reply: Reply, asked: bytes, deadline_s: float) -> AsyncGenerator[Row]:
        """The rows of a worker, after an empty one when its head is there."""
        lines = self.peers.stream(reply.worker, PATH, asked, deadline_s)
        try:
            first = await anext(lines, b"")
            reply.head = msgspec.convert(decode(first or b"{}"), Head)
            reply.problem = reply.head.problem
            yield {}
            is_whole = False
            async for line in lines:
                found = decode(line)
                if isinstance(found, list):
                    for row in found:
                        yield row
                else:
                    is_whole = True
                    if found.get("problem"):
                        raise UnavailableError(f"{reply.worker}: {found['problem']}")
            if not is_whole and not reply.problem:
                raise UnavailableError(f"{reply.worker} broke off in the middle of its rows")
        except (msgspec.MsgspecError, json.JSONDecodeError) as error:
            raise UnavailableError(
                f"{reply.worker} answers what cannot be read; does it run another version? ({error})"
            ) from error
        finally:
            await lines.aclose()

    async def _whole(self, source: Source, query: Query, masks: frozenset[Personal]) -> Gathered:
        answer = await source.answer(query, masks)
        coverage = EVERYTHING
        if answer.is_truncated:
            shard = Shard(self.peers.own_url, frozenset(), is_truncated=True, as_of=self._clock.wall_s())
            coverage = Coverage((shard,), ())
        if not isinstance(answer.rows, list):
            return Gathered(answer.rows, "", answer.matching, answer.facets, coverage)
        cursor = cursor_of(answer.rows[-1], query) if answer.has_more and answer.rows else ""
        return Gathered(_each(answer.rows), cursor, answer.matching, answer.facets, coverage, len(answer.rows))

    # answering

    async def _shard(self, body: bytes) -> AsyncGenerator[bytes]:
        """Answer for this worker's part."""
        try:
            asked = msgspec.convert(decode(body), Asked)
        except (msgspec.MsgspecError, json.JSONDecodeError) as error:
            raise ViewQueryError(
                f"the question cannot be read; do all workers run the same version? ({error})"
            ) from error
        source = self.source(asked.source)
        problem = self.peers.why_not_ready()
        if problem:
            yield encode(self._head(problem=problem))
            return
        generation, partitions = self.peers.generation, source.partitions()
        answer = await source.answer(asked.query, asked.masks)
        if generation != self.peers.generation or partitions != source.partitions():
            yield encode(self._head(problem="partitions moved while it read"))
            return
        yield encode(self._head(partitions, answer))
        async for line in as_lines(only_columns(answer.rows, asked.only)):
            yield line
            if generation != self.peers.generation and not isinstance(answer.rows, list):
                yield encode({"problem": "partitions moved while it read"})
                return
        yield b"{}"

    def _head(self, partitions: Iterable[int] = (), answer: Answer | None = None, problem: str = "") -> Head:
        head = Head(sorted(partitions), self.peers.generation, self._clock.wall_s(), problem)
        if answer is not None:
            head.has_more, head.matching, head.is_truncated = answer.has_more, answer.matching, answer.is_truncated
            head.facets = answer.facets
        return head


def _conditions(fixed: dict[str, Any]) -> Iterable[Condition]:
    for name, value in fixed.items():
        column, _, word = name.partition("__")
        yield Condition(column, Operator(word) if word else Operator.EXACT, value)


def _finds_many(query: Query, key: str) -> bool:
    """Whether the query does not name the rows that it is about."""
    return not any(each.column == key and each.operator in {Operator.EXACT, Operator.IN} for each in query.conditions)


def _decisive(query: Query, source: Source) -> list[str]:
    """The columns that decide which rows are on the page."""
    if query.text:
        return []
    names = {source.key, query.sort, *query.facets, *(condition.column for condition in query.conditions)}
    made_of = source.made_of if isinstance(source, MadeSource) else {}
    return sorted(names.union(*(made_of.get(name, ()) for name in names)))


def _for_parts(query: Query, source: CombinedSource) -> Query:
    """What to ask each worker for parts of rows: all that may belong to the answer, whole."""
    conditions = tuple(each for each in query.conditions if each.column not in source.combined)
    return replace(query, conditions=conditions, text="", after=None, limit=None, facets=())


def _page(replies: Sequence[Reply], query: Query, coverage: Coverage) -> Gathered:
    pages = [(reply.rows or [], reply.head.has_more) for reply in replies if reply.head is not None]
    merged = merge_pages(pages, query)
    heads = [reply.head for reply in replies if reply.head is not None]
    return Gathered(
        _each(merged.rows),
        merged.next_cursor,
        add_counts(head.matching for head in heads),
        add_facets(head.facets for head in heads),
        coverage,
        len(merged.rows),
    )


def _endless(replies: Sequence[Reply], query: Query, coverage: Coverage) -> Gathered:
    heads = [reply.head for reply in replies if reply.head is not None]
    return Gathered(
        _merged_streams(replies, query),
        "",
        add_counts(head.matching for head in heads),
        add_facets(head.facets for head in heads),
        coverage,
    )


async def _merged_streams(replies: Sequence[Reply], query: Query) -> AsyncGenerator[Row]:
    try:
        async for row in merge_streams([reply.stream for reply in replies if reply.stream is not None], query):
            yield row
    finally:
        await close_all(replies)


def _selected(rows: Iterable[Row], query: Query, columns: Columns, coverage: Coverage) -> Gathered:
    selected = select(rows, query, columns)
    cursor = cursor_of(selected.rows[-1], query) if selected.has_more else ""
    return Gathered(_each(selected.rows), cursor, selected.matching, selected.facets, coverage, len(selected.rows))


async def _each(rows: Sequence[Row]) -> AsyncGenerator[Row]:
    for row in rows:
        yield row
