"""The tries under way: each is a task of a sink, and the slots they take."""

import asyncio
from collections.abc import Callable
from functools import partial

from pipeline.cancelling import cancelled
from pipeline.delivery.endpoint import DeliveryObserver, Endpoint
from pipeline.delivery.lane import Flight
from pipeline.delivery.slots import SlotShare
from pipeline.model.attempt import Outcome

OnLanded = Callable[[Flight, "asyncio.Task[Outcome]"], None]
"""Told of a try that ended, in whatever way, once it no longer counts as under way; raises nothing."""


class Tries:
    """Starts tries, keeps them until they end, and cancels them; what is tried, and when, is decided elsewhere."""

    def __init__(self, slots: SlotShare, observer: DeliveryObserver, on_landed: OnLanded) -> None:
        self._slots = slots
        self._observer = observer
        self._on_landed = on_landed
        self._flights: dict[asyncio.Task[Outcome], Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def begin(self, flight: Flight) -> None:
        """Send the flight's body; its lane has an endpoint, and a slot for it."""
        lane, pending, now = flight.lane, flight.pending, flight.started_at
        assert lane.endpoint is not None, "a lane without an endpoint offers nothing"
        lane.in_flight += 1
        self._slots.begin(flight)
        pending.is_in_flight = True
        change = lane.gate.on_started(now=now, now_s=flight.started_s)
        if change is not None:
            self._observer.breaker_changed(lane.name, change)
        self._observer.started(lane.name, pending.attempts + 1, max(0.0, now - pending.sealed_at))
        task = asyncio.get_running_loop().create_task(lane.endpoint.sink.send(flight.body, now_s=now))
        self._flights[task] = flight
        task.add_done_callback(partial(self._land, flight))

    def _land(self, flight: Flight, task: "asyncio.Task[Outcome]") -> None:
        del self._flights[task]
        flight.lane.in_flight -= 1
        self._slots.end(flight)
        flight.pending.is_in_flight = False
        self._on_landed(flight, task)

    def cancel_of_revoked_lanes(self) -> None:
        """Cancel the tries of lanes that are not this worker's any more."""
        for task, flight in self._flights.items():
            if flight.lane.is_revoked:
                task.cancel()

    async def wait(self, deadline_s: float) -> None:
        """Wait up to ``deadline_s`` seconds for those that are under way now."""
        if self._flights:
            await asyncio.wait(list(self._flights), timeout=deadline_s)

    async def end(self, deadline_s: float) -> None:
        """Wait up to ``deadline_s`` seconds, then cancel the rest."""
        await self.wait(deadline_s)
        await cancelled(self._flights)

    async def ended(self, endpoint: Endpoint) -> None:
        """Wait until none that was begun with ``endpoint`` is under way."""
        while tasks := [task for task, flight in self._flights.items() if flight.endpoint is endpoint]:
            await asyncio.wait(tasks)
