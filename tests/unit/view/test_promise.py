"""When a page is promised, so that its beginning may be sent: as soon as all that was asked makes sense, and not before."""

from typing import Any

import pytest

from agents.view.gather import Gather
from agents.view.visit import Visit
from pipeline.clock import SystemClock
from pipeline.errors import ViewQueryError
from pipeline.view.columns import Column, Kind, Personal
from pipeline.view.query import Query
from pipeline.view.roles import Person, Role
from pipeline.view.source import Answer


class NoPeers:
    """Nobody else is asked for rows that every worker has whole."""

    own_url = "http://127.0.0.1:6066"

    def serve(self, path: str, handler: Any) -> None:
        pass


class Letters:
    """Rows that every worker has; remembers whether the page was promised when they were asked for."""

    name, key, sort, is_descending, is_shared = "letters", "letter", "letter", False, True
    columns = (Column("letter", "Letter"), Column("size", "Size", Kind.INTEGER))

    def __init__(self, visit: Visit) -> None:
        self.was_promised: bool | None = None
        self._visit = visit

    def partitions(self) -> frozenset[int]:
        return frozenset()

    async def answer(self, _query: Query, _masks: frozenset[Personal]) -> Answer:
        self.was_promised = self._visit.promised.is_set()
        return Answer([])


def visit_of(*parameters: tuple[str, str], **match: str) -> Visit:
    return Visit(match, list(parameters), Person("ana", Role.VIEWER), frozenset(), now_s=0.0)


async def asked(visit: Visit, **how: Any) -> bool | None:
    gather, letters = Gather(NoPeers(), SystemClock()), Letters(visit)
    gather.offer(letters)
    await gather.section("rows", "letters", visit, **how)
    return letters.was_promised


async def test_a_url_that_makes_sense_is_promised_before_anybody_is_asked():
    assert await asked(visit_of(("size__gt", "3"), ("sort", "-size")))


@pytest.mark.parametrize("wrong", [("size__gt", "three"), ("sort", "colour"), ("colour", "red")])
async def test_a_url_that_makes_none_is_not(wrong: tuple[str, str]):
    visit = visit_of(wrong)
    with pytest.raises(ViewQueryError):
        await asked(visit)
    assert not visit.promised.is_set()


async def test_what_the_path_names_may_be_missing_so_the_page_itself_has_to_promise():
    assert not await asked(visit_of(id="seven"))


async def test_a_second_table_says_nothing_of_the_url():
    assert not await asked(visit_of(("q", "x")), reads_url=False)
