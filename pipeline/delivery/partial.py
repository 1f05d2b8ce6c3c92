"""What a try means for each event of its batch: some arrive, some are given up alone, the rest has one fate."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.model.attempt import Outcome, Refusal, Verdict
from pipeline.model.ranges import Ranges, ranges_of, without


class Share(NamedTuple):
    """Each event of a batch is in exactly one of the three. ``reason`` says why the refused ones are given up."""

    arrived: Ranges
    refused: Ranges
    rest: Ranges
    reason: str = ""


def share_out(ranges: Ranges, outcome: Outcome) -> Share:
    """Share the events ``ranges`` of a batch out as ``outcome`` says.

    The rest has the outcome's verdict; after a delivery there is none. What the outcome names besides the batch's own
    events is left aside, and what it names twice counts as refused.
    """
    refused: Ranges = ()
    reason = ""
    left = ranges
    if outcome.refused:
        named = ranges_of(number for each in outcome.refused for number in range(each.first, each.end))
        left = without(ranges, named)
        refused = without(ranges, left)
        reason = _reason(outcome.refused)
    if outcome.verdict is Verdict.DELIVERED:
        return Share(left, refused, (), reason)
    rest = without(left, outcome.arrived)
    return Share(without(left, rest), refused, rest, reason)


def _reason(refusals: Sequence[Refusal]) -> str:
    others = len({each.detail for each in refusals}) - 1
    if not others:
        return refusals[0].detail
    return f"{refusals[0].detail} (and {others} other {'reason' if others == 1 else 'reasons'})"
