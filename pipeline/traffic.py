"""Made-up events that look like real traffic: for the demo, the tests and the benchmarks.

A campaign goes out in a burst, a few bursts run at once, a few applications and campaigns have most of the events, and
each platform has the events, addresses and texts that belong to it. One seed always gives the same events.
"""

import functools
import hashlib
import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from pipeline.ingest.poison import DEEPEST_NESTING, PoisonReason

APPLICATIONS: Final = (
    "32E5A-9B411", "7C0D1-4F2AA", "A91B3-77E0C", "0F6D2-B1C58", "D4E88-3A907", "5B2F9-C60E1",
    "E17A4-08D3B", "91CC0-F5A26", "2A8E7-6D9F4", "C35B1-E042D", "68F0A-17B9E", "B7D92-5C1A3",
)  # fmt: skip
"""Application codes, the busiest first."""

CAMPAIGNS_PER_APPLICATION: Final = 8

EVENT_NAMES: Final = (
    "Push Sent", "Push Delivered", "Push Opened", "Email Sent", "Email Delivered", "Email Opened", "Email Bounced",
    "SMS Sent", "SMS Delivered", "WhatsApp Sent", "WhatsApp Delivered", "WhatsApp Read", "Line Sent", "Line Delivered",
    "Live Activity Started", "Live Activity Updated", "Live Activity Ended",
)  # fmt: skip
"""All event names that the traffic holds."""

STARTS_AT_S: Final = 1_723_799_271

_PUSH: Final = ("Push Sent", "Push Delivered", "Push Opened")
_EMAIL: Final = ("Email Sent", "Email Delivered", "Email Opened", "Email Bounced")
_LIVE: Final = ("Live Activity Updated", "Live Activity Started", "Live Activity Ended")
# Platform, how often it is used, its events (each about half as frequent as the one before it), how it writes an address.
_CHANNELS: Final = (
    ("iOS", 26, _PUSH, "{:08X}-51B2-4C0E-8F11-9A7D20E4C1B6"),
    ("Android", 30, _PUSH, "a7f3{:012x}"),
    ("Email", 18, _EMAIL, "reader{}@mail.example"),
    ("SMS", 6, ("SMS Sent", "SMS Delivered"), "+4915{:09d}"),
    ("Chrome", 5, _PUSH, "c{:015x}"),
    ("WhatsApp", 4, ("WhatsApp Sent", "WhatsApp Delivered", "WhatsApp Read"), "whatsapp:+4917{:09d}"),
    ("Safari", 2, _PUSH, "5afa{:012x}"),
    ("Huawei", 2, _PUSH, "4a{:014x}"),
    ("Xiaomi", 2, _PUSH, "3b{:014x}"),
    ("Firefox", 1, _PUSH, "f{:015x}"),
    ("macOS", 1, _PUSH, "3ac0{:012x}"),
    ("Windows", 1, _PUSH, "8d{:014x}"),
    ("Amazon", 1, _PUSH, "a3{:014x}"),
    ("Baidu", 1, _PUSH, "ba1d{:012x}"),
    ("Internet Explorer", 1, _PUSH, "13{:014x}"),
    ("Line", 1, ("Line Sent", "Line Delivered"), "U{:032x}"),
)
_TRANSACTIONAL: Final = (3, 7, 11, 15)
"""The channels whose messages belong to no campaign."""

_TEXTS: Final = (
    "Welcome to Headway! 👋", "Your order is on its way", "🎉 20% off this weekend only", "Marta, you left something behind",
    "New episode: “The Long Night”", "Ваш заказ готов", "Paiement reçu, merci !", "Breaking: markets close higher", "お得なお知らせ",
)  # fmt: skip
_JOURNEYS: Final = (
    ("", ""),
    ("Onboarding", "5_Welcome_ID_new"),
    ("", ""),
    ("Win-back 2024", "2_Reminder"),
    ("Cart", "Push 1"),
)
_BURSTS_AT_ONCE: Final = 4
_LONGEST_BURST: Final = 400
_USERS: Final = 400_000
_LIVE_ACTIVITY_SHARE: Final = 0.01
_ANONYMOUS_SHARE: Final = 0.03


class Campaign(NamedTuple):
    """One campaign of an application, with the message that it sends."""

    application_code: str
    code: str
    id: int
    message_code: str
    message_id: int


@functools.cache
def campaigns_of(application_code: str) -> tuple[Campaign, ...]:
    """Return the campaigns of an application, the busiest first: always the same for the same code."""
    made = random.Random(application_code)  # noqa: S311
    return tuple(
        Campaign(
            application_code,
            f"{made.getrandbits(20):05X}-{made.getrandbits(20):05X}",
            made.randrange(100_000, 1_000_000),
            f"{made.getrandbits(16):04X}-{made.getrandbits(32):08X}-{made.getrandbits(32):08X}",
            made.randrange(10_000_000_000, 100_000_000_000),
        )
        for _ in range(CAMPAIGNS_PER_APPLICATION)
    )


def events(
    seed: int,
    count: int,
    *,
    applications: Sequence[str] = APPLICATIONS,
    poison_share: float = 0.0,
    starts_at_s: int = STARTS_AT_S,
) -> Iterator[bytes]:
    """Make ``count`` events, about 377 bytes each, their timestamps (from ``starts_at_s`` on) never going back.

    No uuid comes twice, nor does it under another seed. Of all events ``poison_share`` cannot be used.
    """
    made = random.Random(seed)  # noqa: S311
    uuid_start = _uuid_start(seed)
    bursts = _bursts(made, applications)
    running = [next(bursts) for _ in range(_BURSTS_AT_ONCE)]
    now_s = float(starts_at_s)
    for number in range(count):
        place = int(made.random() * _BURSTS_AT_ONCE)
        kinds, left = running[place]
        if left:
            running[place] = kinds, left - 1
        else:
            running[place] = next(bursts)
            now_s += made.expovariate(2.0)
        template, address = kinds[int(made.random() * len(kinds))]
        # Squared: some people hear from everybody.
        user = int(made.random() ** 2 * _USERS)
        user_id = b"" if made.random() < _ANONYMOUS_SHARE else b"%d" % (1_000_000 + user)
        now_s += 0.0005
        event = template % (b"%b%012x" % (uuid_start, number), address.format(user).encode(), user_id, int(now_s))
        if poison_share and made.random() < poison_share:
            event = made.choice(_COMMON_POISON)(event)
        yield event


def _bursts(made: random.Random, applications: Sequence[str]) -> Iterator[tuple["_Kinds", int]]:
    """Yield what a burst may hold and how many more events it has after the next: few campaigns often, most seldom."""
    campaigns = [
        (campaign, 1 / ((1 + rank) * (1 + place)))
        for rank, application in enumerate(applications)
        for place, campaign in enumerate(campaigns_of(application))
    ]
    weights = list(itertools.accumulate(weight for _, weight in campaigns))
    while True:
        ((campaign, _),) = made.choices(campaigns, cum_weights=weights)
        left = min(int(made.paretovariate(0.7)), _LONGEST_BURST)
        is_live = made.random() < _LIVE_ACTIVITY_SHARE
        yield _kinds(campaign, _channel(made), is_live=is_live), left


_Kinds = tuple[tuple[bytes, str], ...]
"""Equally likely kinds of events: a template with places for uuid, address, user and time, and the address's form."""


def _channel(made: random.Random) -> int:
    return made.choices(range(len(_CHANNELS)), [share for _, share, _, _ in _CHANNELS])[0]


@functools.lru_cache(maxsize=16_384)
def _kinds(campaign: Campaign, channel: int, *, is_live: bool) -> _Kinds:
    platform, _, names, address = _CHANNELS[0] if is_live else _CHANNELS[channel]
    made = random.Random(f"{campaign.code}/{platform}/{is_live}")  # noqa: S311
    text = made.choice(_TEXTS)
    journey, point = made.choice(_JOURNEYS)
    kinds = []
    for place, name in enumerate(_LIVE if is_live else names):
        fields = {
            "uuid": "@uuid@",
            "event_name": name,
            "message_id": campaign.message_id,
            "message_code": campaign.message_code,
            "campaign_id": campaign.id,
            "campaign_code": campaign.code,
            "platform": platform,
            "payload": text,
            "application_code": campaign.application_code,
            "hwid": "@hwid@",
            "user_id": "@user@",
            "timestamp": "@time@",
            "journey_title": journey,
            "journey_point_title": point,
        }
        if is_live:
            del fields["payload"], fields["journey_title"], fields["journey_point_title"]
            fields["live_activity_id"] = f"{made.getrandbits(32):08X}-7B0D-4C55-9E21-{made.getrandbits(48):012X}"
        elif not journey:
            del fields["message_id"], fields["journey_title"], fields["journey_point_title"]
        if channel in _TRANSACTIONAL and not is_live:
            del fields["campaign_id"], fields["campaign_code"]
        template = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).replace("%", "%%")
        for mark in ("@uuid@", "@hwid@", "@user@"):
            template = template.replace(mark, "%b")
        kinds += [(template.replace('"@time@"', "%d").encode(), address)] * (8 >> place)
    return tuple(kinds)


def _uuid_start(seed: int) -> bytes:
    """All but the last 12 hexadecimal digits of a version 8 UUID."""
    digest = hashlib.sha256(f"traffic {seed}".encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[12:15]}-a{digest[15:18]}-".encode()


def _without(name: bytes) -> Callable[[bytes], bytes]:
    return lambda event: event.replace(b'"%b":' % name, b'"no_%b":' % name, 1)


def _with_instead(name: bytes, value: bytes) -> Callable[[bytes], bytes]:
    return lambda event: b'{"%b":%b,%b' % (name, value, _without(name)(event)[1:])


def _with(field: bytes) -> Callable[[bytes], bytes]:
    return lambda event: b"%b,%b}" % (event[:-1], field)


POISON: Final[Mapping[PoisonReason, Callable[[bytes], bytes]]] = MappingProxyType(
    {
        PoisonReason.TOO_LARGE: _with(b'"note":"%b"' % (b"x" * 1024 * 1024)),
        PoisonReason.NOT_UTF8: _with(b'"note":"caf\xe9"'),
        PoisonReason.NOT_JSON: lambda event: event[: len(event) // 2],
        PoisonReason.NESTED_TOO_DEEP: _with(b'"note":%b%b' % (b"[" * DEEPEST_NESTING, b"]" * DEEPEST_NESTING)),
        PoisonReason.NOT_AN_OBJECT: lambda event: b"[%b]" % event,
        PoisonReason.DUPLICATE_KEY: _with(b'"hwid":"second"'),
        PoisonReason.MISSING_FIELD: _without(b"application_code"),
        PoisonReason.WRONG_TYPE: _with_instead(b"timestamp", b'"yesterday"'),
        PoisonReason.EMPTY_FIELD: _with_instead(b"event_name", b'""'),
        PoisonReason.OUT_OF_RANGE: _with_instead(b"timestamp", b"1723799271000"),
        PoisonReason.UNKNOWN_PLATFORM: _with_instead(b"platform", b'"Pager"'),
        PoisonReason.MISSING_IDENTITY: lambda event: _without(b"hwid")(_without(b"user_id")(event)),
    }
)
"""How to spoil an event so that it is refused for a reason."""

_COMMON_POISON: Final = tuple(spoil for reason, spoil in POISON.items() if reason is not PoisonReason.TOO_LARGE)
