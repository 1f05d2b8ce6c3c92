"""The ledger in one sentence: where every matched event is."""

from collections.abc import Mapping
from typing import Any, Final

from pipeline.view.columns import Row

PARTS: Final = (
    ("delivered", "delivered"),
    ("open", "in open windows"),
    ("waiting", "sealed and waiting"),
    ("parked", "parked"),
    ("discarded", "discarded"),
)
"""The figures that matched events add up to, with words for them."""


def balance_sentence(row: Mapping[str, Any]) -> str:
    """Say where all events are: ``1,000 matched = 990 delivered + 10 in open windows; nothing is missing``.

    ``row`` has the figures of a ledger.
    """
    matched, missing = row["matched"], row["missing"]
    if not matched and not missing and not any(row[name] for name, _ in PARTS):
        return "No event has matched yet."
    parts = " + ".join(f"{row[name]:,} {words}" for name, words in PARTS if row[name]) or "0"
    if not missing:
        return f"{matched:,} matched = {parts}; nothing is missing."
    if missing > 0:
        return f"{matched:,} matched, of which {parts}: {missing:,} are missing. The ledger does not balance."
    return f"{matched:,} matched, but {parts}: {-missing:,} too many. The ledger does not balance."


def why_of(state: str, held: Row | None, *, waiting: int, enabled: bool = True) -> str:  # noqa: PLR0911 one return a state reads best
    """What a state means for whoever waits for events, in one sentence."""
    match state:
        case "gone":
            return "The endpoint said that it is gone (410): nothing is sent before somebody resumes it, or changes its URL."
        case "breaker open":
            failures = f" after {held['failures']:,} failures" if held is not None and held["failures"] else ""
            return f"The breaker is open{failures}: the endpoint is left alone, asked with one try when the pause is over, and its batches wait."
        case "removed":
            return "There is no such integration any more; what it still holds is shown here."
        case "paused":
            held_back = f" {waiting:,} sealed events wait until it is enabled." if waiting else ""
            return f"The integration is disabled: it takes no events.{held_back}"
        case "retrying" if held is not None:
            return "The endpoint asked to be left alone for long (Retry-After): its batches wait until then, or until somebody resumes it."
        case "retrying":
            return "A batch has failed and is tried again; others go on, unless the integration is ordered."
        case "failing":
            return "The last try failed, and its events gave up: they are parked or discarded. Nothing holds other batches back."
    return "Nothing holds its batches back." if enabled else "The integration is disabled."
