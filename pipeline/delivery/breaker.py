"""The breaker of a lane: an endpoint that fails every try is left alone for a while, then asked with one try.

A pure state machine. Times are UNIX seconds, since the state is stored and outlives the process.
"""

import enum
import math
import zlib
from dataclasses import dataclass
from typing import Final

import msgspec

from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.model.integration import BreakerSettings

_PAUSE_GROWTH: Final = 2.0
_SPREAD: Final = 0.25
"""A pause is longer by up to this part of itself, by the lane's name: lanes that failed together do not probe together."""


class BreakerState(enum.StrEnum):
    """What a lane's breaker lets through."""

    CLOSED = "closed"  # every try
    OPEN = "open"  # none
    PROBING = "probing"  # one, which is under way


class BreakerRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A breaker as it is stored; times are UNIX seconds, ``0`` for never.

    ``failures`` tries have failed one after the other, the first of them at ``failing_since``. While the breaker is not
    closed, ``opened_at`` is when it opened first, ``pause_s`` how long its present pause is, and ``next_probe_at`` when
    that ends. ``probe_at`` is when the probe under way began.
    """

    failures: int = 0
    failing_since: float = 0.0
    has_exhausted: bool = False
    opened_at: float = 0.0
    pause_s: float = 0.0
    next_probe_at: float = 0.0
    probe_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """A breaker went from one state to another, with the reason in words. ``next_probe_at`` is 0 unless it is open now.

    ``was`` tells an endpoint that fails anew (from ``CLOSED``) from one that still fails (from ``PROBING``). ``is_hoped_for`` says of
    a breaker that closed that no try has shown the endpoint at work: somebody wants it tried.
    """

    state: BreakerState
    was: BreakerState
    reason: str
    opened_at: float = 0.0
    next_probe_at: float = 0.0
    is_hoped_for: bool = False


def endpoint_works(outcome: Outcome) -> bool:
    """Whether a try shows an endpoint at work.

    Refusing one batch for what is in it does, and so does taking a part of it, or all that was sent of it. A failure that another try may cure does
    not (5xx, a time-out, no connection, 408, 425, 429), nor does refusing whoever asks (401, 403) or being gone (410).
    """
    if outcome.verdict is Verdict.DELIVERED or outcome.arrived or outcome.is_left:
        return True
    return outcome.verdict is Verdict.REFUSED and outcome.hint not in (Hint.GONE, Hint.UNAUTHORIZED)


class Breaker:
    """One lane's breaker.

    Closed, it counts tries that failed one after the other. It opens when there are ``after_tries`` of them that took at
    least ``after_s``, or when a batch used up its schedule among them. Open, it lets nothing through for a pause, then one
    try. Where that succeeds it closes, otherwise it opens for twice as long, up to ``max_pause_s``.

    A disabled one stays closed.
    """

    __slots__ = ("_lane", "_row", "_settings", "_spread")

    def __init__(self, lane: str, settings: BreakerSettings, row: BreakerRow | None = None) -> None:
        self._lane = lane
        self._settings = settings
        # A probe that was under way when the row was stored ended with its worker.
        restored = row if row is not None and settings.enabled else BreakerRow()
        self._row = msgspec.structs.replace(restored, probe_at=0.0)
        self._spread = 1.0 + _SPREAD * (zlib.crc32(lane.encode()) % 1024) / 1024

    @property
    def row(self) -> BreakerRow:
        """The state, to be stored; equal rows are equal states."""
        return self._row

    @property
    def state(self) -> BreakerState:
        """What it lets through."""
        if not self._row.opened_at:
            return BreakerState.CLOSED
        return BreakerState.PROBING if self._row.probe_at else BreakerState.OPEN

    @property
    def is_open(self) -> bool:
        """Whether it holds the lane back: open, or with its probe under way."""
        return self._row.opened_at > 0.0

    @property
    def next_probe_at(self) -> float | None:
        """When the next try may go, in UNIX seconds; ``None`` while the breaker is closed.

        Infinite while the probe is under way, however long that takes: it ends, or is abandoned, and then it is known.
        """
        row = self._row
        if not row.opened_at:
            return None
        return math.inf if row.probe_at else row.next_probe_at

    def may_try(self, now: float) -> bool:
        """Whether a try may begin; while the breaker is not closed the next one is its probe (``on_probe_started``)."""
        at = self.next_probe_at
        return at is None or now >= at

    def on_probe_started(self, now: float) -> Change | None:
        """A try begins ``now`` that ``may_try`` let through. Gives the change to ``PROBING``; ``None`` while closed."""
        was = self.state
        if was is BreakerState.CLOSED:
            return None
        self._row = msgspec.structs.replace(self._row, probe_at=now)
        return Change(BreakerState.PROBING, was, "the pause is over", self._row.opened_at)

    def on_try_abandoned(self, *, started_at: float) -> None:
        """A try that began at ``started_at`` says nothing (its worker stops, or it asks for less).

        Where it was the probe, the next one may go at once.
        """
        if self._is_probe(started_at):
            self._row = msgspec.structs.replace(self._row, probe_at=0.0)

    def on_try_ended(
        self,
        succeeded: bool,  # noqa: FBT001 the one thing that it is told
        now: float,
        *,
        started_at: float,
        is_exhausted: bool = False,
        detail: str = "",
    ) -> Change | None:
        """A try that began at ``started_at`` ended ``now``: ``succeeded`` is what ``endpoint_works`` says of it.

        ``is_exhausted``: its batch has no try left. ``detail`` is what the endpoint said, for the reason of a change.
        A try that began before the breaker opened, and fails while it is open or its probe is under way, changes nothing;
        where it succeeds, the breaker closes.
        """
        if not self._settings.enabled:
            return None
        if succeeded:
            row = self._row
            return self._close(
                f"the endpoint takes batches again, after {now - row.opened_at:.0f} s and {row.failures} failures"
            )
        row, was = self._row, self.state
        if was is not BreakerState.CLOSED and not self._is_probe(started_at):
            return None
        self._row = row = msgspec.structs.replace(
            row,
            failures=row.failures + 1,
            failing_since=row.failing_since or now,
            has_exhausted=row.has_exhausted or is_exhausted,
        )
        if was is BreakerState.PROBING:
            return self._open(now, was, row.pause_s * _PAUSE_GROWTH, "the endpoint still fails", detail)
        if self._has_failed_enough(now):
            return self._open(
                now, was, self._settings.pause_s, f"{row.failures} tries failed one after the other", detail
            )
        return None

    def _is_probe(self, started_at: float) -> bool:
        # Not "no earlier than the probe": the wall clock may have been set back since the other began.
        return self._row.probe_at > 0.0 and started_at == self._row.probe_at

    def _has_failed_enough(self, now: float) -> bool:
        row = self._row
        if row.failures < self._settings.after_tries:
            return False
        return row.has_exhausted or now - row.failing_since >= self._settings.after_s

    def close(self) -> Change | None:
        """Somebody closes it by hand."""
        return self._close("resumed by hand", is_hoped_for=True)

    def use(self, settings: BreakerSettings) -> None:
        """Go by other settings from now on; where they disable the breaker it is closed."""
        self._settings = settings
        if not settings.enabled:
            self._row = BreakerRow()

    def try_anew(self) -> None:
        """The endpoint is another one by now: what is under way says nothing of it, and the next probe may go at once."""
        row = self._row
        self._row = msgspec.structs.replace(row, probe_at=0.0, next_probe_at=0.0) if row.opened_at else BreakerRow()

    def _open(self, now: float, was: BreakerState, pause_s: float, reason: str, detail: str) -> Change:
        pause_s = min(pause_s, self._settings.max_pause_s)
        self._row = msgspec.structs.replace(
            self._row,
            opened_at=self._row.opened_at or now,
            pause_s=pause_s,
            next_probe_at=now + pause_s * self._spread,
            probe_at=0.0,
        )
        return Change(
            BreakerState.OPEN,
            was,
            f"{reason}: {detail}" if detail else reason,
            self._row.opened_at,
            self._row.next_probe_at,
        )

    def _close(self, reason: str, *, is_hoped_for: bool = False) -> Change | None:
        row, was = self._row, self.state
        self._row = BreakerRow()
        if was is BreakerState.CLOSED:
            return None
        return Change(BreakerState.CLOSED, was, reason, row.opened_at, is_hoped_for=is_hoped_for)
