"""Making requests as a sink makes them, and as it never would."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pipeline.conform.sample import Sample, plain
from pipeline.model.batch import batch_id
from pipeline.model.ranges import Ranges, count_of, numbers_in
from pipeline.sinks.base import USER_AGENT
from pipeline.sinks.posting import Events

_PIECES_OF_A_SLOW_BODY: Final = 6
_PAUSE_OF_A_SLOW_BODY_S: Final = 0.25


class Wire(NamedTuple):
    """One request: its headers, its body, and in how many pieces the body is sent, with which pause between two."""

    headers: Mapping[str, str]
    body: bytes
    pieces: int = 1
    pause_s: float = 0.0

    def slowly(self) -> "Wire":
        """The same request, over a bad line."""
        return self._replace(pieces=_PIECES_OF_A_SLOW_BODY, pause_s=_PAUSE_OF_A_SLOW_BODY_S)


class Group(NamedTuple):
    """Events that go out together, with their numbers in the lane."""

    ranges: Ranges
    events: tuple[bytes, ...]


class Signed(enum.Enum):
    """How a request is signed, where requests of its kind are signed at all."""

    RIGHT = enum.auto()
    WRONG = enum.auto()  # with a secret that nobody knows
    NONE = enum.auto()
    OTHER_BODY = enum.auto()  # rightly, but for another body
    WRONG_THEN_RIGHT = enum.auto()  # two signatures, as while a secret is being replaced
    UNKNOWN_SCHEME_TOO = enum.auto()  # beside one of a scheme that is yet to come


Sign = Callable[[Mapping[str, str], bytes, int, Signed], Mapping[str, str]]
"""Gives the headers that sign a request: from its other headers, its body, its time (UNIX seconds), and how."""


@dataclass(frozen=True, slots=True)
class Form:
    """What requests of one kind look like.

    ``body_of`` encodes events (published ones, as JSON), ``most_events`` is how many a request carries (0: any number),
    ``sign`` is ``None`` where nothing is signed, and ``is_ever_signed`` says whether it could be. ``compress`` packs a body, and is ``None`` where this kind sends none packed.
    """

    kind: str
    body_of: Callable[[Events, Sequence[bytes]], bytes]
    most_events: int = 0
    sign: Sign | None = None
    is_ever_signed: bool = True
    compress: Callable[[bytes], bytes] | None = None
    sends_unknown_fields: bool = False
    has_long_texts: bool = True


@dataclass(slots=True)
class Composer:
    """Composes the requests of one run: a lane of its own, whose numbers it gives out one after the other.

    The lane is one of tests, so each request says ``distributary-purpose: test``. ``run`` makes names that no earlier run used.
    """

    form: Form
    run: str
    authorization: str | None = None
    _next: int = field(default=0, init=False)

    @property
    def lane(self) -> str:
        """The lane that all requests belong to."""
        return f"conformance-{self.run}~test"

    @property
    def is_batched(self) -> bool:
        """Whether a request carries more than one event."""
        return self.form.most_events != 1

    def take(self, count: int, *, now_s: float, sample: Sample = plain, but: Ranges = ()) -> Group:
        """The next ``count`` numbers of the lane, and events for them; the numbers ``but`` (counted from 0) are left out."""
        first = self._next
        self.skip(count)
        ranges: list[tuple[int, int]] = []
        position = first
        for low, high in but:
            ranges.append((position, first + low))
            position = first + high
        ranges.append((position, first + count))
        kept = tuple(ranges)
        events = (sample(number, f"conformance-{self.run}-{number}", int(now_s)) for number in numbers_in(kept))
        return Group(kept, tuple(events))

    def skip(self, count: int) -> None:
        """Leave numbers out, as parked batches do."""
        self._next += count

    def wires(
        self,
        group: Group,
        *,
        at_s: float,
        signed: Signed = Signed.RIGHT,
        authorization: str | None = None,
        is_compressed: bool = False,
    ) -> tuple[Wire, ...]:
        """The requests that carry ``group`` at ``at_s``: one, or one an event where a request carries no more."""
        if self.is_batched:
            carried = [(self._named(group.ranges), group.events)]
        else:
            numbered = zip(numbers_in(group.ranges), group.events, strict=True)
            carried = [(Events.single(self.lane, number), (event,)) for number, event in numbered]
        wires = (
            self._wire(events, self.form.body_of(events, encoded), at_s, signed=signed, authorization=authorization)
            for events, encoded in carried
        )
        return tuple(self._packed(wire) if is_compressed else wire for wire in wires)

    def garbage(self, body: bytes, *, at_s: float) -> Wire:
        """A request whose body is ``body``, and all else right."""
        number = self._next
        self.skip(1)
        return self._wire(Events.single(self.lane, number), body, at_s)

    def _named(self, ranges: Ranges) -> Events:
        name = batch_id(self.lane, ranges[0][0], ranges[-1][1])
        return Events(name if len(ranges) == 1 else f"{name}~{count_of(ranges)}", self.lane, ranges)

    def _wire(
        self,
        events: Events,
        body: bytes,
        at_s: float,
        *,
        signed: Signed = Signed.RIGHT,
        authorization: str | None = None,
    ) -> Wire:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "Content-Type": "application/json"}
        headers |= {"User-Agent": USER_AGENT, **events.headers(now_s=at_s)}
        shown = self.authorization if authorization is None else authorization
        if shown:
            headers["Authorization"] = shown
        if self.form.sign is not None and signed is not Signed.NONE:
            headers |= self.form.sign(headers, body, int(at_s), signed)
        return Wire(headers, body)

    def _packed(self, wire: Wire) -> Wire:
        # What is signed is the text, whatever way it travels.
        if self.form.compress is None:
            return wire
        return wire._replace(headers={**wire.headers, "Content-Encoding": "gzip"}, body=self.form.compress(wire.body))
