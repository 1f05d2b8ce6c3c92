"""What follows from a try that has ended: for each event of its batch, and for its lane."""

import msgspec

from pipeline.clock import Clock
from pipeline.delivery.bodies import Bodies
from pipeline.delivery.endings import Endings
from pipeline.delivery.endpoint import DeliveryObserver
from pipeline.delivery.lane import Flight, Lane
from pipeline.delivery.partial import Share, share_out
from pipeline.delivery.pending import PendingBatch
from pipeline.delivery.rows import Fate
from pipeline.delivery.schedule import INTEGRATION_REMOVED, Decision, decide, fate_of_what_gives_up
from pipeline.delivery.timer import DueTimer
from pipeline.model.attempt import Hint, Outcome, Verdict
from pipeline.model.batch import Batch, Purpose, integration_of, purpose_of
from pipeline.model.ranges import Ranges, count_of, halves, without


class Landing:
    """Applies outcomes: what arrived is done, what is refused alone gives up, the rest is tried again, cut or given up."""

    def __init__(
        self, clock: Clock, endings: Endings, bodies: Bodies, timer: DueTimer, observer: DeliveryObserver
    ) -> None:
        self._clock = clock
        self._endings = endings
        self._bodies = bodies
        self._timer = timer
        self._observer = observer

    def land(self, flight: Flight, outcome: Outcome) -> None:
        """A try ended with ``outcome``."""
        lane, pending = flight.lane, flight.pending
        now, now_s = self._clock.wall_s(), self._clock.monotonic_s()
        retry = (lane.endpoint or flight.endpoint).integration.retry
        if flight.is_outdated and outcome.hint is Hint.GONE:
            outcome = msgspec.structs.replace(outcome, hint=None)  # that address is gone, and the lane has left it
        share = share_out(pending.ranges, outcome)
        arrived, refused, rest = share.arrived, share.refused, share.rest
        pending.attempts += 1
        is_progress = bool(arrived) and outcome.is_cut_short  # those that were not tried have lost no try
        is_forgiven = (
            is_progress
            or outcome.is_left
            or flight.is_outdated
            or outcome.hint is Hint.GONE
            or not lane.gate.counts_as_attempt(outcome, pending, now=now)
        )
        pending.forgiven += is_forgiven
        decision = self._decide(flight, outcome, share, now) if rest else Decision(None, now)
        self._tell(flight, outcome, decision, share)
        if flight.is_outdated:
            lane.gate.on_abandoned(flight)
        else:
            change = lane.gate.on_ended(outcome, flight, now=now, now_s=now_s, is_exhausted=decision.fate is not None)
            if change is not None:
                self._observer.breaker_changed(lane.name, change)
        if refused:
            self._refuse(lane, pending, refused, share.reason, fate_of_what_gives_up(retry))
        if pending.fate is None and arrived and not rest:
            self._endings.finish(lane, pending, Fate.DELIVERED)
        elif arrived and rest:
            self._endings.arrived(lane, pending, self._body(pending).only(rest))
        if arrived or refused or decision.fate is not None:
            self._bodies.finished(lane, len(flight.body.block), now_s)
        if rest:
            self._settle_rest(lane, pending, outcome, decision)

    def _decide(self, flight: Flight, outcome: Outcome, share: Share, now: float) -> Decision:
        """What becomes of the events that neither arrived nor were refused alone."""
        lane, pending = flight.lane, flight.pending
        if lane.endpoint is None:
            return Decision(Fate.PARKED, reason=INTEGRATION_REMOVED)
        # The next owner goes on at once with what is left, and the address that it goes to now has not had its say.
        if outcome.is_left or flight.is_outdated or _goes_on(outcome, share.rest):
            return Decision(None, now)
        return decide(
            outcome,
            attempts=pending.attempts - pending.forgiven,
            retry=lane.endpoint.integration.retry,
            deadline=pending.sealed_at + lane.max_wait_s,
            now=now,
        )

    def _settle_rest(self, lane: Lane, pending: PendingBatch, outcome: Outcome, decision: Decision) -> None:
        if decision.fate is None and outcome.hint is Hint.GONE:
            self._halt(lane)
            self._endings.retried_at(lane, pending, 0.0)
            lane.put_back(pending)
            self._observer.halted(lane.name, outcome.detail)
        elif decision.fate is None and _is_to_be_cut(outcome, pending.ranges):
            self._cut(lane, pending)
        elif decision.fate is None:
            self._endings.retried_at(lane, pending, decision.next_at)
            if lane.is_ordered:
                lane.put_back(pending)
                lane.is_paused = True
            self._timer.add_at(decision.next_at, lane, pending)
        else:
            self._endings.give_up(lane, pending, self._body(pending), decision.fate, decision.reason)

    def _refuse(self, lane: Lane, pending: PendingBatch, events: Ranges, detail: str, fate: Fate) -> None:
        """Give events up alone."""
        body = self._body(pending)
        if events != pending.ranges:
            others = without(pending.ranges, events)
            pending = self._endings.split(lane, pending, body, body.only(events), body.only(others))
        self._endings.give_up(lane, pending, self._body(pending), fate, f"refused: {detail}")

    def _halt(self, lane: Lane) -> None:
        """The endpoint is gone: no lane of the integration sends more to that address before somebody resumes it.

        Lanes on other workers hear it from the endpoint themselves, each with its next try. What a test event hears is no
        word on others, nor the other way round.
        """
        if lane.gate.is_halted:
            return
        is_test = purpose_of(lane.name) is Purpose.TEST
        for owned in self._endings.partitions.values():
            for name in owned.state.lanes:
                if integration_of(name) == lane.integration_id and (purpose_of(name) is Purpose.TEST) == is_test:
                    owned.state.touch(name).halted_for = lane.gate.address

    def _cut(self, lane: Lane, pending: PendingBatch) -> None:
        """The batch is too large: its halves are tried at once, each as a batch of its own."""
        body = self._body(pending)
        first, second = halves(pending.ranges)
        later = self._endings.split(lane, pending, body, body.only(second), body.only(first))
        pending.attempts, pending.forgiven, pending.next_at = 0, 0, 0.0
        lane.put_back(later)
        lane.put_back(pending)

    def _tell(self, flight: Flight, outcome: Outcome, decision: Decision, share: Share) -> None:
        final = decision.fate
        if not share.rest:
            gives_up = fate_of_what_gives_up((flight.lane.endpoint or flight.endpoint).integration.retry)
            final = gives_up if share.refused else Fate.DELIVERED
        is_tried_again = bool(share.rest) and decision.fate is None and outcome.hint is not Hint.GONE
        self._endings.tried(
            flight.lane,
            flight.pending,
            outcome,
            started_at=flight.started_at,
            next_at=decision.next_at if is_tried_again else None,
            final=final,
            arrived_events=count_of(share.arrived) if share.rest or share.refused else 0,
            given_up_events=count_of(share.refused),
        )

    def _body(self, pending: PendingBatch) -> Batch:
        assert pending.body is not None, "what is in flight keeps its body"
        return pending.body


def _goes_on(outcome: Outcome, rest: Ranges) -> bool:
    return outcome.hint is Hint.GONE or _is_to_be_cut(outcome, rest)


def _is_to_be_cut(outcome: Outcome, rest: Ranges) -> bool:
    return outcome.hint is Hint.TOO_LARGE and outcome.verdict is not Verdict.DELIVERED and count_of(rest) > 1
