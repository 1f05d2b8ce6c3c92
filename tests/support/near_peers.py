"""Workers that ask each other without a network or Kafka between them: what gathers is real, the distance is not."""

from collections.abc import AsyncGenerator

from agents.view.peers import Handler, SilentWorkerError
from pipeline.view.columns import Columns, Personal, Row
from pipeline.view.query import Query
from pipeline.view.source import Answer, answer_of


class NearPeers:
    """One worker among those in ``everyone``; ``is_silent`` has it answer nobody."""

    def __init__(self, url: str, owned: frozenset[int], everyone: "dict[str, NearPeers]") -> None:
        self.own_url = url
        self.generation = 1
        self.is_silent = False
        self.asked = 0
        self._owned = owned
        self._everyone = everyone
        self._handlers: dict[str, Handler] = {}
        everyone[url] = self

    @property
    def partitions(self) -> range:
        return range(sum(len(each.owned()) for each in self._everyone.values()))

    def owners(self) -> dict[str, frozenset[int]]:
        return {url: each.owned() for url, each in self._everyone.items()}

    def owned(self) -> frozenset[int]:
        return self._owned

    def why_not_ready(self) -> str | None:
        return None

    def serve(self, path: str, handler: Handler) -> None:
        self._handlers[path] = handler

    async def stream(self, worker_url: str, path: str, body: bytes, timeout_s: float) -> AsyncGenerator[bytes]:
        other = self._everyone[worker_url]
        other.asked += 1
        if other.is_silent:
            raise SilentWorkerError(worker_url, f"nothing came within {timeout_s:g} s")
        answering = other._handlers[path](body)
        assert isinstance(answering, AsyncGenerator)
        async for line in answering:
            yield line


class RowsInMemory:
    """A source of the rows that a test gives it."""

    def __init__(
        self, name: str, columns: Columns, rows: list[Row], peers: NearPeers, *, is_descending: bool = False
    ) -> None:
        self.name = name
        self.columns = columns
        self.rows = rows
        self.key = self.sort = columns[0].name
        self.is_descending = is_descending
        self._peers = peers

    def partitions(self) -> frozenset[int]:
        return self._peers.owned()

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        return answer_of(self.rows, query, self.columns, masks)
