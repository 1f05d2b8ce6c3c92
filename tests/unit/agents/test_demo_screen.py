"""When the demo may end."""

import pytest

from agents.commands.demo_screen import Figures


def figures(*, sent: int = 10, read: int = 10, routed: int = 12, **ledger: int) -> Figures:
    found = Figures(sent=sent, read=read, routed=routed)
    found.ledger.update(ledger)
    return found


def test_it_may_end_when_all_that_was_routed_has_come_to_an_end() -> None:
    assert figures(matched=12, delivered=9, parked=2, discarded=1).is_quiet


def test_it_may_end_where_nothing_matched() -> None:
    assert figures(routed=0).is_quiet


@pytest.mark.parametrize(
    "still",
    [
        pytest.param(figures(read=9, matched=12, delivered=12), id="not all was read"),
        pytest.param(figures(), id="nothing is in a window yet"),
        pytest.param(figures(matched=11, delivered=11), id="something is on its way to its window"),
        pytest.param(figures(matched=12, delivered=10, open=2), id="a window is open"),
        pytest.param(figures(matched=12, delivered=10, waiting=2), id="a batch waits"),
        pytest.param(figures(matched=12, delivered=10), id="a batch is on its way to the delivery"),
    ],
)
def test_it_does_not_end_while_anything_is_on_its_way(still: Figures) -> None:
    assert not still.is_quiet
