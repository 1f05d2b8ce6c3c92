"""Which rows wait for what is parked: those of the lanes that parked it, and nobody else's."""

from pipeline.delivery.rows import RowGroup, RowKind, parse_key
from tests.support.delivering import NOT_FOUND, OK, Delivering, delivering, integration


def lanes_in(groups: list[RowGroup]) -> list[str]:
    return sorted(key.decode() for group in groups for key, _ in group if parse_key(key).kind is RowKind.LANE)


async def took(it: Delivering) -> tuple[list[str], list[str]]:
    await it.calm()
    writes = it.core.take(0)
    return lanes_in(writes.groups), lanes_in(writes.groups_after_parked)


async def test_rows_of_a_lane_that_parked_wait_for_it_and_those_of_the_others_do_not():
    async with delivering(integration("crm"), integration("shop")) as it:
        it.sink("shop").otherwise = NOT_FOUND
        it.send("crm")
        it.send("shop")
        assert await took(it) == (["crm"], ["shop"])


async def test_another_lane_of_the_same_integration_does_not_wait():
    async with delivering(integration("hot", lanes=2)) as it:
        it.sink("hot").answers.extend([NOT_FOUND, OK])
        it.send("hot~0")
        it.send("hot~1")
        assert await took(it) == (["hot~1"], ["hot~0"])


async def test_a_lane_that_both_delivered_and_parked_waits_with_all_its_rows():
    async with delivering(integration("crm")) as it:
        it.sink().answers.extend([OK, NOT_FOUND])
        it.send(batches=3)
        assert await took(it) == ([], ["crm"])


async def test_a_lane_that_parked_before_waits_no_more():
    async with delivering(integration("crm")) as it:
        it.sink().answers.append(NOT_FOUND)
        it.send()
        await took(it)
        it.send()
        assert await took(it) == (["crm"], [])
