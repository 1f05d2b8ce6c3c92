"""What a try means for each event of its batch: some arrive, some are given up alone, the rest has one fate."""

from typing import NamedTuple

from pipeline.model.attempt import Outcome, Verdict
from pipeline.model.ranges import Ranges, without


class Share(NamedTuple):
    """Each event of a batch is in exactly one of them. ``refused`` pairs events with why they are given up."""

    arrived: Ranges
    refused: tuple[tuple[Ranges, str], ...]
    rest: Ranges


def share_out(ranges: Ranges, outcome: Outcome) -> Share:
    """Share the events ``ranges`` of a batch out as ``outcome`` says.

    The rest has the outcome's verdict; after a delivery there is none. What the outcome names besides the batch's own
    events is left aside, and what it names twice counts as refused.
    """
    left = ranges
    refused: list[tuple[Ranges, str]] = []
    for refusal in outcome.refused:
        named = _both(left, ((refusal.first, refusal.end),))
        if named:
            refused.append((named, refusal.detail))
            left = without(left, named)
    if outcome.verdict is Verdict.DELIVERED:
        return Share(left, tuple(refused), ())
    rest = without(left, outcome.arrived)
    return Share(without(left, rest), tuple(refused), rest)


def _both(ranges: Ranges, others: Ranges) -> Ranges:
    return without(ranges, without(ranges, others))
