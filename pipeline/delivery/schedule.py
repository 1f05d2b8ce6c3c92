"""The retry rule: what follows from a try."""

from typing import NamedTuple

from pipeline.delivery.rows import Fate
from pipeline.model.attempt import Outcome, Verdict
from pipeline.model.integration import Retry

REFUSED = "refused"
EXHAUSTED = "retries exhausted"
WAITED_TOO_LONG = "waited too long"
INTEGRATION_REMOVED = "integration removed"


class Decision(NamedTuple):
    """Either the batch is done (``fate``) or it is tried again at ``next_at``, UNIX seconds. ``reason`` says why it gave up."""

    fate: Fate | None
    next_at: float = 0.0
    reason: str = ""


_DELIVERED = Decision(Fate.DELIVERED)


def decide(outcome: Outcome, *, attempts: int, retry: Retry, deadline: float, now: float) -> Decision:
    """What becomes of a batch, or of what is left of it, after its ``attempts``-th try, which ended ``now``.

    The pause is the schedule's or the one that the endpoint asked for, whichever is longer, and ends at ``deadline`` at
    the latest, when the batch has waited too long (all UNIX seconds).
    """
    if outcome.verdict is Verdict.DELIVERED:
        return _DELIVERED
    if outcome.verdict is Verdict.REFUSED:
        return _give_up(REFUSED, outcome, retry)
    if attempts > len(retry.delays_s):
        return _give_up(EXHAUSTED, outcome, retry)
    pause_s = max(retry.delays_s[max(0, attempts - 1)] if retry.delays_s else 0.0, outcome.retry_after_s or 0.0)
    return Decision(None, max(now, min(now + pause_s, deadline)))


def is_overdue(deadline: float, now: float) -> bool:
    """Whether a batch has waited too long to be tried once more."""
    return now >= deadline


def fate_of_what_gives_up(retry: Retry) -> Fate:
    """Parked, or discarded where the integration wants that."""
    return Fate.PARKED if retry.on_exhausted == "park" else Fate.DISCARDED


def _give_up(reason: str, outcome: Outcome, retry: Retry) -> Decision:
    return Decision(fate_of_what_gives_up(retry), reason=f"{reason}: {outcome.detail}")
