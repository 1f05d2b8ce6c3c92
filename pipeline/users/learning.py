"""What is learned of users from events that pass: which device was seen with whom.

The events of a source pass by the hundred thousand a second, so looking is made of calls that take a whole run of events at once,
and is bounded: of more than ``LOOKED_AT_A_SECOND`` one in ``LOOKED_AT_OF`` is looked at, the rest is learned the next time it passes. What was handed on
lately is not handed on again: memory of two generations, each bounded, the older of which is forgotten when the newer one is
full. After ``REMEMBERED_S`` both are: the directory may have heard something else meanwhile, from another worker, from a call,
or that the user was deleted, and what is seen after that counts.
"""

from collections.abc import Sequence
from itertools import repeat
from operator import attrgetter
from typing import Final, Protocol

from pipeline.users.updates import Seen

REMEMBERED: Final = 100_000
"""How many devices each of the two generations holds."""
REMEMBERED_S: Final = 3600.0
LOOKED_AT_A_SECOND: Final = 1_000
LOOKED_AT_OF: Final = 32
LEARNED_A_SECOND: Final = 1_000
"""How many sightings a worker hands on in a second, each of which costs a write."""
WITHOUT_LIMIT: Final = 10**12
"""For events that come in calls: they are few, and a caller counts on what was accepted."""


class SeenEvent(Protocol):
    """What is read of an event."""

    hwid: str | None
    user_id: str | None
    email: str | None
    application_code: str
    platform: str | int
    timestamp: int


_Key = tuple[str | None, str]
"""Device and application; in the place of a device that an event does not name, its user after a zero byte."""

_key_of: Final = attrgetter("hwid", "application_code")
_user_of: Final = attrgetter("user_id")
_NO_DEVICE: Final = "\0"
_UNKNOWN: Final = object()


class Learner:
    """Gathers what is new in events."""

    def __init__(
        self,
        *,
        remembered: int = REMEMBERED,
        looked_at_a_second: int = LOOKED_AT_A_SECOND,
        learned_a_second: int = LEARNED_A_SECOND,
    ) -> None:
        self._remembered = remembered
        self._looked_at_a_second = looked_at_a_second
        self._learned_a_second = learned_a_second
        self._young: dict[_Key, str | None] = {}
        self._old: dict[_Key, str | None] = {}
        self._began_s = 0.0
        self._new: dict[_Key, SeenEvent] = {}
        self._may_look_at = float(looked_at_a_second)
        self._may_learn = float(learned_a_second)
        self._taken_at_s = 0.0

    def look(self, events: Sequence[SeenEvent]) -> None:
        """Note what a run of events says that is new."""
        if self._may_look_at < 1:
            self._may_look_at += len(events) / LOOKED_AT_OF
            return
        self._may_look_at -= len(events)
        known = map(self._young.get, map(_key_of, events), repeat(_UNKNOWN))
        if list(known) != list(map(_user_of, events)):
            self._note(events)

    def _note(self, events: Sequence[SeenEvent]) -> None:
        young, old, new = self._young, self._old, self._new
        for event in events:
            key: _Key = event.hwid or _NO_DEVICE + (event.user_id or ""), event.application_code
            who = event.user_id
            if young.get(key, _UNKNOWN) == who:
                new.pop(key, None)
            elif key not in young and old.get(key, _UNKNOWN) == who:
                young[key] = who
            elif key in new or len(new) < self._learned_a_second:
                new[key] = event

    def take(self, now_s: float) -> list[Seen]:
        """What was noted since the last call, as far as it may be handed on by now (``now_s`` is UNIX time)."""
        elapsed_s = max(0.0, now_s - self._taken_at_s)
        self._taken_at_s = now_s
        self._may_look_at = min(self._looked_at_a_second, self._may_look_at + elapsed_s * self._looked_at_a_second)
        self._may_learn = min(self._learned_a_second, self._may_learn + elapsed_s * self._learned_a_second)
        if now_s - self._began_s >= REMEMBERED_S:
            self._old, self._young, self._began_s = {}, {}, now_s
        elif len(self._young) >= self._remembered:
            self._old, self._young = self._young, {}
        noted, self._new = self._new, {}
        seen = []
        for key, event in noted.items():
            if self._may_learn < 1:
                break
            self._may_learn -= 1
            self._young[key] = event.user_id
            found = _seen(event, now_s)
            if found is not None:
                seen.append(found)
        return seen


def _seen(event: SeenEvent, now_s: float) -> Seen | None:
    try:
        return Seen(
            application=event.application_code,
            user_id=event.user_id or None,
            hwid=event.hwid or None,
            email=event.email or None,
            platform=str(event.platform),
            # A time to come would keep a device from moving until then.
            at_us=int(min(event.timestamp, now_s) * 1_000_000),
        )
    except ValueError:  # an identifier that cannot be stored names nobody here
        return None
