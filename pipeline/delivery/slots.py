"""Which lanes may use a slot while slots are scarce.

A lane that has one takes another only where it then holds fewer than it leaves free, as switches share a buffer among their
queues (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998), and a quarter of all
is for lanes that have none. So an endpoint that begins to hang holds three eighths of the slots at most, however many tries it
was worth until then; and where dozens hang at once, another one still finds a slot before any of them has timed out.

Endpoints that gave no answer of late share half of the slots beside that, and where these run short each gets one: else those
that never come back would be most of what is under way.
"""

from pipeline.delivery.lane import Flight, Lane


class SlotShare:
    """Counts the tries under way, and keeps the lanes that found no slot, in the order of asking."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._under_way = 0
        self._unanswered = 0
        self._waiting: dict[Lane, None] = {}
        self._waiting_for_second: dict[Lane, None] = {}
        self._holding_enough = _ByHeld()

    def use_slots(self, slots: int) -> None:
        """Share another number of slots from now on."""
        self._slots = slots

    def may_begin(self, lane: Lane) -> bool:
        """Whether the lane may begin a try, given that a slot is free; if not, it is kept until there is a slot for it."""
        self._holding_enough.discard(lane)
        if lane.in_flight and lane.in_flight >= self._free_for_more:
            self._holding_enough.add(lane)
            return False
        if lane.gate.answers or self._has_slot(is_second=lane.in_flight > 0):
            return True
        (self._waiting_for_second if lane.in_flight else self._waiting)[lane] = None
        return False

    def begin(self, flight: Flight) -> None:
        """A try begins."""
        flight.is_unanswered = not flight.lane.gate.answers
        self._under_way += 1
        self._unanswered += flight.is_unanswered

    def end(self, flight: Flight) -> None:
        """A try ended, however it did."""
        self._under_way -= 1
        self._unanswered -= flight.is_unanswered

    def next_lane(self) -> Lane | None:
        """Take one of the lanes that wait, where there is a slot for it; it may not want it any more."""
        for waiting, is_second in ((self._waiting, False), (self._waiting_for_second, True)):
            if waiting and self._has_slot(is_second=is_second):
                lane = next(iter(waiting))
                del waiting[lane]
                return lane
        return self._holding_enough.take(fewer_than=self._free_for_more)

    def drop_revoked(self) -> None:
        """Forget lanes that were revoked."""
        for waiting in (self._waiting, self._waiting_for_second):
            for lane in [lane for lane in waiting if lane.is_revoked]:
                del waiting[lane]
        self._holding_enough.drop_revoked()

    @property
    def _free_for_more(self) -> int:
        """How many slots are free for lanes that have some; not above 0 where the rest is for those that have none."""
        return self._slots - self._slots // 4 - self._under_way

    def _has_slot(self, *, is_second: bool) -> bool:
        most = max(1, self._slots // 2)
        return self._unanswered < (most // 2 if is_second else most)


class _ByHeld:
    """Lanes by how many slots each held when it came, and in the order of coming among those that held as many.

    A lane that is here begins nothing, and one of which a try ends is offered a turn anyway: so what it held goes on to hold.
    """

    def __init__(self) -> None:
        self._lanes: dict[int, dict[Lane, None]] = {}
        self._held: dict[Lane, int] = {}

    def add(self, lane: Lane) -> None:
        self._held[lane] = lane.in_flight
        self._lanes.setdefault(lane.in_flight, {})[lane] = None

    def discard(self, lane: Lane) -> None:
        held = self._held.pop(lane, None)
        if held is None:
            return
        lanes = self._lanes[held]
        del lanes[lane]
        if not lanes:
            del self._lanes[held]

    def take(self, *, fewer_than: int) -> Lane | None:
        """The first of those that hold fewest, if that is few enough."""
        if not self._lanes or (fewest := min(self._lanes)) >= fewer_than:
            return None
        lane = next(iter(self._lanes[fewest]))
        self.discard(lane)
        return lane

    def drop_revoked(self) -> None:
        for lane in [lane for lane in self._held if lane.is_revoked]:
            self.discard(lane)
