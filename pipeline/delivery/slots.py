"""Which lanes may use a slot while slots are scarce.

Endpoints that gave no answer of late share half of the slots, and where these run short each gets one. Otherwise a few
that hang would hold all slots until they time out, and nobody else could send.
"""

from pipeline.delivery.lane import Flight, Lane


class SlotShare:
    """Counts the tries to endpoints that do not answer, and keeps the lanes that found no slot, in the order of asking."""

    def __init__(self, slots: int) -> None:
        self._most = max(1, slots // 2)
        self._under_way = 0
        self._waiting: dict[Lane, None] = {}
        self._waiting_for_second: dict[Lane, None] = {}

    def use_slots(self, slots: int) -> None:
        """Share another number of slots from now on."""
        self._most = max(1, slots // 2)

    def may_begin(self, lane: Lane) -> bool:
        """Whether the lane may begin a try; if not, it is kept until there is a slot for it."""
        if lane.gate.answers or self._has_slot(is_second=lane.in_flight > 0):
            return True
        (self._waiting_for_second if lane.in_flight else self._waiting)[lane] = None
        return False

    def begin(self, flight: Flight) -> None:
        """A try begins."""
        flight.is_unanswered = not flight.lane.gate.answers
        self._under_way += flight.is_unanswered

    def end(self, flight: Flight) -> None:
        """A try ended, however it did."""
        self._under_way -= flight.is_unanswered

    def next_lane(self) -> Lane | None:
        """Take one of the lanes that wait, where there is a slot for it; it may not want it any more."""
        for waiting, is_second in ((self._waiting, False), (self._waiting_for_second, True)):
            if waiting and self._has_slot(is_second=is_second):
                lane = next(iter(waiting))
                del waiting[lane]
                return lane
        return None

    def drop_revoked(self) -> None:
        """Forget lanes that were revoked."""
        for waiting in (self._waiting, self._waiting_for_second):
            for lane in [lane for lane in waiting if lane.is_revoked]:
                del waiting[lane]

    def _has_slot(self, *, is_second: bool) -> bool:
        return self._under_way < (self._most // 2 if is_second else self._most)
