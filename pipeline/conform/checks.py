"""What a receiver is tried with: each check is some requests, and a judge of their answers."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from pipeline.conform import sample
from pipeline.conform.compose import Composer, Signed, Wire
from pipeline.conform.judge import Grade, Judge, refuses, takes

Stages = tuple[tuple[Wire, ...], ...]
"""Requests: those of one stage go out at the same time, the stages one after the other."""

FIRST_CHECK: Final = "a plain delivery"
"""Where this one fails, nothing else can be learned."""

REFUSED: Final = "4xx"
"""What is expected where requests are not to be taken."""

OLD_S: Final = 3600.0
_EVENTS: Final = 3
_AT_ONCE: Final = 8
_LARGE_EVENTS: Final = 100
_THROTTLED: Final = frozenset({429, 503})


class Check(NamedTuple):
    """One line of the report. ``make`` composes its requests for a time in UNIX seconds."""

    name: str
    expected: str
    make: Callable[[Composer, float], Stages]
    judge: Judge

    @property
    def is_good(self) -> bool:
        """Whether its requests are such as a sink sends."""
        return self.expected != REFUSED


class Skipped(NamedTuple):
    """A line of the report for what cannot be tried, and why."""

    name: str
    why: str


def checks_of(composer: Composer) -> tuple[list[Check], list[Skipped]]:
    """What receivers of this kind are tried with, in order, and what is left out for want of something."""
    checks = [*_good(composer), *_at_once(), *_odd(composer), *_unusable()]
    skipped: list[Skipped] = []
    if composer.form.sign is not None:
        checks += _signatures()
    elif composer.form.is_ever_signed:
        skipped.append(Skipped("signatures", "give --secret to try wrong and missing signatures, and old timestamps"))
    if composer.authorization is None:
        skipped.append(Skipped("Authorization", "give --authorization to try a wrong and a missing one"))
    else:
        checks += _authorizations()
    return checks, skipped


def _good(composer: Composer) -> Iterator[Check]:
    again = "A delivery may come again: look its webhook-id up, and answer 2xx without doing anything."
    yield Check(FIRST_CHECK, "2xx", lambda made, now_s: _in_turn(made, now_s, _EVENTS), takes())
    if composer.is_batched:
        yield Check("a batch of one event", "2xx", lambda made, now_s: _in_turn(made, now_s, 1), takes())
    yield Check("the same again", "2xx twice", _same_again, takes(unless=again))
    yield Check("the same, tried later", "2xx twice", _same_later, takes(unless=again))
    order = "Deliveries overtake each other unless the integration is set to ordered: true. Take them in any order."
    yield Check("in another order", "2xx twice", _reordered, takes(unless=order))
    gap = "Numbers are missing where a batch waits for its next try or was parked. Note the gap, and take what comes."
    yield Check("a gap before it", "2xx", _after_a_gap, takes(unless=gap))
    if composer.is_batched:
        part = (
            "Where some events of a batch are done, the others come alone: webhook-id then ends in ~COUNT, "
            "and distributary-sequence names several ranges."
        )
        yield Check("a part of a batch", "2xx", _part, takes(unless=part))
    yield Check("few fields", "2xx", _sampled(sample.sparse), takes(unless="Fields may be absent: take such events."))
    yield Check("empty fields", "2xx", _sampled(sample.empty), takes(unless="Texts may be empty: take such events."))
    yield Check("unicode", "2xx", _sampled(sample.unicode), takes(unless="Bodies are UTF-8 JSON, in any script."))
    numbers = "message_id and campaign_id are unsigned 64-bit numbers: use a type that holds them, or text."
    yield Check("large numbers", "2xx", _sampled(sample.large_numbers), takes(unless=numbers))
    if composer.form.sends_unknown_fields:
        ignore = "Ignore fields that you do not know: later versions add some."
        yield Check("unknown fields", "2xx", _sampled(sample.unknown), takes(unless=ignore))


def _at_once() -> Iterator[Check]:
    fewer = "Fewer at once are possible: set max_in_flight to what the receiver bears."
    yield Check(f"{_AT_ONCE} at once", f"{_AT_ONCE} x 2xx", _concurrent, takes(softly=_THROTTLED, hint=fewer))
    race = (
        "The same delivery can come twice at once, when a worker is replaced while it sends: "
        "let one wait for the other, and answer both with 2xx."
    )
    yield Check("the same twice at once", "2xx twice", _twice_at_once, takes(unless=race, softly=_THROTTLED, hint=race))


def _odd(composer: Composer) -> Iterator[Check]:
    if composer.form.has_long_texts:
        smaller = "A 413 halves the batch. Set batch.max_bytes to what the receiver takes, and nothing is sent in vain."
        soft = frozenset({413}) if composer.is_batched else frozenset[int]()
        yield Check("a large body", "2xx", _large, takes(softly=soft, hint=smaller))
    slow = "A line may be slow: wait longer for the body, or for as long as bytes come."
    yield Check("a slow body", "2xx", _slow, takes(unless=slow, softly=frozenset({408}), hint=slow))
    if composer.form.compress is None:
        return
    packed = "Leave compression at none, or have the receiver unpack Content-Encoding: gzip."
    yield Check("gzip", "2xx", _compressed, takes(softly=frozenset({400, 415, 422}), hint=packed))


def _unusable() -> Iterator[Check]:
    advice = "What is not JSON was answered with 2xx: is the body read at all before it is called safe?"
    yield Check("not JSON", REFUSED, _not_json, refuses(advice, grade=Grade.WARN))


def _signatures() -> Iterator[Check]:
    verify = "Verify the signature of each request before anything else, and answer 401 where it does not fit."
    yield Check("no signature", REFUSED, _signed(Signed.NONE), refuses(f"An unsigned request was taken. {verify}"))
    yield Check("a wrong signature", REFUSED, _signed(Signed.WRONG), refuses(f"A forged request was taken. {verify}"))
    other = "A changed body was taken: compute the signature over the body's bytes as they came. " + verify
    yield Check("another body's signature", REFUSED, _signed(Signed.OTHER_BODY), refuses(other))
    old = "A request from an hour ago was taken, so a recorded one can be played back: refuse timestamps that are more than 5 minutes off."
    yield Check("an old timestamp", REFUSED, _signed(Signed.RIGHT, off_s=-OLD_S), refuses(old))
    early = "A request from the future was taken: refuse timestamps that are more than 5 minutes off."
    yield Check("a future timestamp", REFUSED, _signed(Signed.RIGHT, off_s=OLD_S), refuses(early))
    each = "While a secret is replaced there are two signatures: take the request where one of them fits."
    yield Check("two signatures", "2xx", _signed(Signed.WRONG_THEN_RIGHT), takes(unless=each))
    scheme = "Ignore signatures of schemes that you do not know."
    yield Check("an unknown scheme too", "2xx", _signed(Signed.UNKNOWN_SCHEME_TOO), takes(unless=scheme))


def _authorizations() -> Iterator[Check]:
    compare = "Compare the Authorization header with the one that was agreed on, and answer 401 where it differs."
    yield Check("no Authorization", REFUSED, _authorized(""), refuses(f"A request without one was taken. {compare}"))
    yield Check("a wrong Authorization", REFUSED, _authorized("Bearer wrong"), refuses(f"Any is taken. {compare}"))


def _in_turn(composer: Composer, now_s: float, count: int, make: sample.Sample = sample.plain) -> Stages:
    return tuple((wire,) for wire in composer.wires(composer.take(count, now_s=now_s, sample=make), at_s=now_s))


def _sampled(make: sample.Sample) -> Callable[[Composer, float], Stages]:
    return lambda composer, now_s: _in_turn(composer, now_s, _EVENTS + 1, make)


def _same_again(composer: Composer, now_s: float) -> Stages:
    once = _in_turn(composer, now_s, 1)
    return once + once


def _same_later(composer: Composer, now_s: float) -> Stages:
    group = composer.take(1, now_s=now_s)
    return composer.wires(group, at_s=now_s - 12), composer.wires(group, at_s=now_s)


def _reordered(composer: Composer, now_s: float) -> Stages:
    first, second = composer.take(1, now_s=now_s), composer.take(1, now_s=now_s)
    return composer.wires(second, at_s=now_s), composer.wires(first, at_s=now_s)


def _after_a_gap(composer: Composer, now_s: float) -> Stages:
    composer.skip(100)
    return _in_turn(composer, now_s, 1)


def _part(composer: Composer, now_s: float) -> Stages:
    return (composer.wires(composer.take(6, now_s=now_s, but=((1, 3), (4, 5))), at_s=now_s),)


def _concurrent(composer: Composer, now_s: float) -> Stages:
    groups = [composer.take(1, now_s=now_s) for _ in range(_AT_ONCE)]
    return (tuple(wire for group in groups for wire in composer.wires(group, at_s=now_s)),)


def _twice_at_once(composer: Composer, now_s: float) -> Stages:
    once = composer.wires(composer.take(1, now_s=now_s), at_s=now_s)
    return (once + once,)


def _large(composer: Composer, now_s: float) -> Stages:
    count = _LARGE_EVENTS if composer.is_batched else 1
    return (composer.wires(composer.take(count, now_s=now_s, sample=sample.large), at_s=now_s),)


def _slow(composer: Composer, now_s: float) -> Stages:
    return (tuple(wire.slowly() for wire in composer.wires(composer.take(1, now_s=now_s), at_s=now_s)),)


def _compressed(composer: Composer, now_s: float) -> Stages:
    count = _LARGE_EVENTS if composer.is_batched else 1
    return (composer.wires(composer.take(count, now_s=now_s), at_s=now_s, is_compressed=True),)


def _not_json(composer: Composer, now_s: float) -> Stages:
    return ((composer.garbage(b'{"event_name": "Email Sent", ', at_s=now_s),),)


def _signed(signed: Signed, *, off_s: float = 0.0) -> Callable[[Composer, float], Stages]:
    return lambda composer, now_s: (composer.wires(composer.take(1, now_s=now_s), at_s=now_s + off_s, signed=signed),)


def _authorized(authorization: str) -> Callable[[Composer, float], Stages]:
    return lambda composer, now_s: (
        composer.wires(composer.take(1, now_s=now_s), at_s=now_s, authorization=authorization),
    )
