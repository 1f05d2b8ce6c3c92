"""Events that were written before a crash, and whose rows were not.

A worker that is killed may have had events acknowledged that no row tells of. Whoever goes on reads them from the end of the
topic of events: requests that fired them come again, and must not fire them twice.
"""

from typing import Final, NamedTuple

import msgspec

MOST_REMEMBERED: Final = 500_000
"""Events at the end of the topic that are read at most: what can be on its way is far less."""


class _Named(msgspec.Struct):
    uuid: str = ""


_decode: Final = msgspec.json.Decoder(_Named).decode


def uuid_in(event: bytes | None) -> str | None:
    """The uuid of a record of the topic of events; ``None`` where it has none, as one that somebody else wrote may not."""
    try:
        return _decode(event or b"").uuid or None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


class TailEvent(NamedTuple):
    """An event that stands in the topic: its uuid, the time when it was written (UNIX seconds), its offset."""

    uuid: str
    at_s: float
    offset: int


class Tail:
    """Events that stand in the topic already, each until ``kept_s`` seconds after it was written: then its key may be used again."""

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self._by_uuid: dict[str, list[TailEvent]] = {}

    def __len__(self) -> int:
        return len(self._by_uuid)

    def remember(self, event: TailEvent) -> None:
        """This stands there; a key that is used again after its time gives the same uuid."""
        self._by_uuid.setdefault(event.uuid, []).append(event)

    def take(self, uuid: str, at_s: float) -> int | None:
        """The offset where an event that was made at ``at_s`` stands, once for each, as its key has a row then; or ``None``."""
        if not self._by_uuid:
            return None
        found = [event for event in self._by_uuid.pop(uuid, ()) if at_s < event.at_s + self._kept_s]
        if found[1:]:
            self._by_uuid[uuid] = found[1:]
        return found[0].offset if found else None
