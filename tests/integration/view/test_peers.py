"""Workers that ask each other over real sockets of loopback, without Kafka: an assignment that the test decides."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from agents.view import gather as gathering
from agents.view.gather import Gather
from agents.view.peers import Peers
from pipeline.clock import SystemClock
from pipeline.errors import ConflictError, InvalidChangeError, NotFoundError, UnavailableError, ViewQueryError
from pipeline.local import ports
from pipeline.view.columns import Column, Kind, Personal
from pipeline.view.query import Query
from pipeline.view.source import Answer, answer_of

KEY = b"the key of this app"
CHANGELOG = "app-windows-changelog"
BY_ID = Query(sort="id", key="id", limit=100)


class Assigned:
    """What a worker knows of its group, as the test says it."""

    def __init__(self, url: str, partitions: int) -> None:
        self.conf = SimpleNamespace(canonical_url=url, topic_partitions=partitions)
        self.owners: dict[str, list[int]] = {}
        self.assignor = self
        self.consumer_generation_id = 1
        self.should_stop = self.rebalancing = self.is_assignment_partial = False
        self.tables = SimpleNamespace(actives_ready=True)

    def table_metadata(self, topic: str) -> dict[str, dict[str, list[int]]]:
        return {url: {topic: partitions} for url, partitions in self.owners.items()}

    def assigned_actives(self) -> set[SimpleNamespace]:
        return {Tp(CHANGELOG, number) for number in self.owners.get(self.conf.canonical_url, ())}


class Tp(SimpleNamespace):
    def __init__(self, topic: str, partition: int) -> None:
        super().__init__(topic=topic, partition=partition)

    def __hash__(self) -> int:
        return hash((self.topic, self.partition))


class Numbers:
    """Numbers, each in the partition that it is congruent to; parts of one row in every partition where they are ``sums``."""

    columns = (
        Column("id", "Id", Kind.INTEGER),
        Column("user", "User", personal=Personal.USER_ID),
        Column("sum", "Sum", Kind.INTEGER),
    )
    key = sort = "id"
    is_descending = False

    def __init__(self, peers: Peers, count: int = 40) -> None:
        self._peers = peers
        self.count = count
        self.name = "numbers"
        self.made = 0

    def partitions(self) -> frozenset[int]:
        return self._peers.owned()

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        owned = self.partitions()
        numbers = (number for number in range(self.count) if number % 4 in owned)
        if query.limit is None:
            return Answer(self._each(numbers))
        return answer_of((self.row(number) for number in numbers), query, self.columns, masks)

    async def _each(self, numbers: Iterable[int]) -> AsyncIterator[dict]:
        for number in numbers:
            self.made += 1
            yield self.row(number)

    @staticmethod
    def row(number: int) -> dict:
        return {"id": number, "user": f"user-{number}", "sum": 1}


class Sums(Numbers):
    """Ten sums, of which each worker has a part for each of its partitions."""

    combined = frozenset({"sum"})
    combines_narrow_rows = True

    def __init__(self, peers: Peers) -> None:
        super().__init__(peers)
        self.name = "sums"

    def combine(self, one: dict, other: dict) -> dict:
        return {**one, "sum": one["sum"] + other["sum"]}

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        rows = [{"id": number, "user": "x", "sum": number * len(self.partitions())} for number in range(10)]
        return answer_of(rows, query, self.columns, masks)


class Node:
    """One worker."""

    def __init__(self, key: bytes = KEY) -> None:
        self.port = ports.choose()
        self.url = f"http://127.0.0.1:{self.port}"
        self.app = Assigned(self.url, 4)
        topology = SimpleNamespace(windows=SimpleNamespace(changelog_topic_name=CHANGELOG))
        self.peers = Peers(self.app, topology, SystemClock(), key)
        self.gather = Gather(self.peers, SystemClock())
        self.numbers = Numbers(self.peers)
        self.gather.offer(self.numbers)
        self.gather.offer(Sums(self.peers))
        self._runner: web.AppRunner

    async def start(self) -> None:
        served = web.Application()
        self.peers.mount(served)
        self._runner = web.AppRunner(served, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        await self.peers.close()
        await self._runner.cleanup()


class Pair(tuple[Node, Node]):
    __slots__ = ()

    def assign(self, one: list[int], other: list[int], *, generation: int = 1) -> None:
        for node in self:
            node.app.owners = {self[0].url: one, self[1].url: other}
            node.app.consumer_generation_id = generation


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Two workers that own two partitions each."""
    nodes = Pair((Node(), Node()))
    nodes.assign([0, 2], [1, 3])
    async with contextlib.AsyncExitStack() as stack:
        for node in nodes:
            await node.start()
            stack.push_async_callback(node.stop)
        yield nodes


async def ids(gathered: gathering.Gathered) -> list[int]:
    return [row["id"] async for row in gathered.rows]


# calls


async def test_a_call_reaches_the_other_worker(pair: Pair):
    async def shout(body: bytes) -> bytes:
        return body.upper() + b"\n\nEND"

    pair[1].peers.serve("shout", shout)
    assert await pair[0].peers.call(pair[1].url, "shout", b"a", 1.0) == b"A\n\nEND"


async def test_a_call_to_oneself_needs_no_server():
    async def shout(body: bytes) -> bytes:
        return body.upper()

    alone = Node()
    alone.peers.serve("shout", shout)
    assert await alone.peers.call(alone.url + "/", "shout", b"a", 1.0) == b"A"


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("no such lane"),
        ConflictError("it exists", status=409),
        InvalidChangeError([("url", "is no URL")]),
        UnavailableError("not yet"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_the_other_one_raises_is_raised_here(pair: Pair, error: Exception):
    async def refuse(_body: bytes) -> bytes:
        raise error

    pair[1].peers.serve("refuse", refuse)
    with pytest.raises(type(error)) as raised:
        await pair[0].peers.call(pair[1].url, "refuse", b"", 1.0)
    assert str(raised.value) == str(error)
    assert raised.value.status == error.status


async def test_a_worker_with_another_key_is_refused(pair: Pair):
    stranger = Node(b"another key")
    try:
        with pytest.raises(UnavailableError, match="signature"):
            await stranger.peers.call(pair[0].url, "rows", b"{}", 1.0)
    finally:
        await stranger.peers.close()


async def test_who_does_not_sign_is_refused(pair: Pair):
    async with aiohttp.ClientSession() as session, session.post(f"{pair[0].url}/-/rows", data=b"{}") as answer:
        assert answer.status == 401


async def test_whatever_took_the_port_is_not_believed():
    async def pretend(_request: web.Request) -> web.Response:
        return web.Response(body=b'{"rows": []}')

    asker, other = Node(), Node()
    served = web.Application()
    served.router.add_post("/{path:.*}", pretend)
    runner = web.AppRunner(served)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", other.port).start()
    try:
        with pytest.raises(UnavailableError, match="something else"):
            await asker.peers.call(other.url, "rows", b"{}", 1.0)
    finally:
        await asker.peers.close()
        await runner.cleanup()


async def test_a_redirection_is_not_followed(pair: Pair):
    async def elsewhere(_request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"{pair[0].url}/-/rows")

    other = Node()
    served = web.Application()
    served.router.add_post("/{path:.*}", elsewhere)
    runner = web.AppRunner(served)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", other.port).start()
    try:
        with pytest.raises(UnavailableError, match="307"):
            await pair[0].peers.call(other.url, "rows", b"{}", 1.0)
    finally:
        await runner.cleanup()


async def test_a_request_that_is_too_large_is_refused(pair: Pair):
    with pytest.raises((ViewQueryError, UnavailableError)):
        await pair[0].peers.call(pair[1].url, "rows", b"x" * (5 << 20), 2.0)


async def test_a_silent_worker_costs_no_more_than_the_time_given(pair: Pair):
    async def sleep(_body: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    pair[1].peers.serve("sleep", sleep)
    began_s = time.monotonic()
    with pytest.raises(UnavailableError, match="within"):
        await pair[0].peers.call(pair[1].url, "sleep", b"", 0.2)
    assert time.monotonic() - began_s < 1.0


# rows


async def test_rows_of_both_come_in_one_order(pair: Pair):
    gathered = await pair[0].gather.ask("numbers", BY_ID)
    assert await ids(gathered) == list(range(40))
    assert gathered.coverage.is_complete
    assert gathered.matching == 40


async def test_a_page_is_cut_and_goes_on(pair: Pair):
    gathered = await pair[1].gather.ask("numbers", Query(sort="id", key="id", limit=5))
    assert await ids(gathered) == [0, 1, 2, 3, 4]
    assert gathered.next_cursor


async def test_rows_without_end_are_made_as_they_are_read(pair: Pair):
    for node in pair:
        node.numbers.count = 400_000
    gathered = await pair[0].gather.ask("numbers", Query(sort="id", key="id", limit=None))
    first = [(await anext(gathered.rows))["id"] for _ in range(10)]
    made = sum(node.numbers.made for node in pair)
    await gathered.rows.aclose()
    assert first == list(range(10))
    assert made < 200_000


async def test_sums_add_up_over_workers(pair: Pair):
    gathered = await pair[0].gather.ask("sums", Query(sort="sum", is_descending=True, key="id", limit=3))
    assert [(row["id"], row["sum"]) async for row in gathered.rows] == [(9, 36), (8, 32), (7, 28)]


async def test_a_condition_on_a_sum_is_one_on_the_whole(pair: Pair):
    query = Query(sort="id", key="id", limit=100).where("sum", 20)
    assert await ids(await pair[0].gather.ask("sums", query)) == [5]


async def test_masked_parts_are_not_searched(pair: Pair):
    masks = frozenset({Personal.USER_ID})
    query = Query(sort="id", key="id", limit=100, text="user-7")
    assert await ids(await pair[0].gather.ask("numbers", query, masks)) == []


async def test_a_question_that_none_can_answer_is_refused(pair: Pair):
    with pytest.raises(NotFoundError):
        await pair[0].gather.ask("nothing", BY_ID)


# what is missing


async def test_a_worker_that_is_gone_is_named_at_once(pair: Pair):
    await pair[1].stop()
    began_s = time.monotonic()
    gathered = await pair[0].gather.ask("numbers", BY_ID)
    assert time.monotonic() - began_s < 0.5
    assert gathered.coverage.missing == (1, 3)
    assert [shard.worker for shard in gathered.coverage.shards if shard.problem] == [pair[1].url]
    assert await ids(gathered) == list(range(0, 40, 2))


async def test_a_worker_that_hangs_is_named_when_its_time_is_up(pair: Pair):
    async def hang(_query: Query, _masks: frozenset[Personal]) -> Answer:
        await asyncio.Event().wait()
        return Answer([])

    pair[1].numbers.answer = hang
    gathered = await pair[0].gather.ask("numbers", BY_ID, deadline_s=0.2)
    assert gathered.coverage.missing == (1, 3)
    assert "0.2 s" in gathered.coverage.sentence()


async def test_a_worker_that_recovers_says_so(pair: Pair):
    pair[1].app.tables.actives_ready = False
    gathered = await pair[0].gather.ask("numbers", BY_ID)
    assert "recovered" in gathered.coverage.sentence()
    assert gathered.coverage.missing == (1, 3)


async def test_partitions_that_nobody_owns_are_missing(pair: Pair):
    pair.assign([0], [1])
    gathered = await pair[0].gather.ask("numbers", BY_ID)
    assert gathered.coverage.missing == (2, 3)


async def test_it_asks_again_where_partitions_have_just_moved(pair: Pair):
    pair[1].app.rebalancing = True
    asyncio.get_running_loop().call_later(0.1, setattr, pair[1].app, "rebalancing", False)
    gathered = await pair[0].gather.ask("numbers", BY_ID)
    assert gathered.coverage.is_complete


async def test_of_two_that_claim_a_partition_the_newer_assignment_counts(pair: Pair):
    pair.assign([0, 1, 2], [3], generation=2)
    pair[1].app.owners = {pair[0].url: [0, 2], pair[1].url: [1, 3]}
    pair[1].app.consumer_generation_id = 1
    gathered = await pair[0].gather.ask("numbers", BY_ID)
    found = await ids(gathered)
    assert len(found) == len(set(found))
    assert gathered.coverage.missing == (3,)


async def test_rows_without_end_break_off_where_partitions_move(pair: Pair):
    for node in pair:
        node.numbers.count = 2_000_000  # more than sockets and buffers hold
    gathered = await pair[0].gather.ask("numbers", Query(sort="id", key="id", limit=None))
    await anext(gathered.rows)
    pair[1].app.consumer_generation_id = 2
    with pytest.raises(UnavailableError, match="moved"):
        async for _ in gathered.rows:
            pass


async def test_who_is_asked_for_its_part_asks_nobody(pair: Pair):
    asked: list[str] = []
    original = pair[1].peers.stream

    def noted(url: str, *rest):
        asked.append(url)
        return original(url, *rest)

    pair[1].peers.stream = noted
    await pair[0].gather.ask("numbers", BY_ID)
    assert asked == []


async def test_text_that_is_no_unicode_travels(pair: Pair):
    pair[1].numbers.row = lambda number: {"id": number, "user": "\ud800", "sum": 1}
    gathered = await pair[0].gather.ask("numbers", BY_ID)
    assert {row["user"] async for row in gathered.rows if row["id"] % 2} == {"\ud800"}


async def test_an_answer_of_another_version_is_a_problem_of_that_worker(pair: Pair):
    async def other(_body: bytes) -> bytes:
        return json.dumps({"what": "is this"}).encode()

    pair[1].peers.serve("rows", other)
    gathered = await pair[0].gather.ask("numbers", BY_ID)
    assert gathered.coverage.missing == (1, 3)
