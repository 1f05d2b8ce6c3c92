"""The directory of users learns from Segment's events which user and which device belong together."""

from collections.abc import Sequence
from dataclasses import dataclass

from agents.users.lookup import Users
from pipeline.clock import Clock
from pipeline.inbound.segment.posted_event import PostedEvent
from pipeline.users.learning import WITHOUT_LIMIT, Learner


@dataclass(slots=True)
class _Sighting:
    """A user and a device in one event, as a learner looks at it."""

    application_code: str
    user_id: str | None
    hwid: str | None
    platform: str | int
    timestamp: int
    email: str | None = None


class Sightings:
    """Hands on to ``users`` what is new in the events of calls."""

    def __init__(self, users: Users, clock: Clock) -> None:
        self._users = users
        self._clock = clock
        # Each of these events costs a write of its own: to learn all of them costs no more than twice that.
        self._learner = Learner(looked_at_a_second=WITHOUT_LIMIT, learned_a_second=WITHOUT_LIMIT)

    def note(self, application: str, events: Sequence[PostedEvent], at_s: float) -> None:
        """Learn from a call's events, which came ``at_s``.

        Nobody waits for it: what a worker that dies has not handed on is learned from the next event, by another one.
        """
        if not events:
            return
        sightings = [
            _Sighting(
                application_code=application,
                user_id=event.user_id or None,
                hwid=event.device_id or None,
                platform=event.platform,
                timestamp=int(at_s) if event.moment is None else event.moment.seconds,
            )
            for event in events
        ]
        self._learner.look(sightings)
        self._users.learn(self._learner.take(self._clock.wall_s()))
