"""The events that benchmarks load, and integrations that match them."""

import random
from collections.abc import Iterable
from typing import Any

from bench.rig import Rig, Source
from pipeline.traffic import APPLICATIONS, events

BATCH = {"max_events": 100, "max_age": "1h"}


def plain(rig: Rig, count: int) -> Source:
    """Events as the demo has them."""
    return rig.load(f"bench-plain-{count}", count, lambda: events(1, count))


def over_applications(rig: Rig, count: int, applications: int) -> Source:
    """Events of many applications: few have many of them, most have few."""
    codes = application_codes(applications)
    return rig.load(f"bench-apps{applications}-{count}", count, lambda: events(2, count, applications=codes))


def shuffled(rig: Rig, count: int, applications: int) -> Source:
    """The same events, but no two neighbours belong together: the worst case for whatever works on runs of one lane."""

    def make() -> Iterable[bytes]:
        made = list(events(2, count, applications=application_codes(applications)))
        random.Random(2).shuffle(made)
        return made

    return rig.load(f"bench-shuffled{applications}-{count}", count, make)


def application_codes(count: int) -> list[str]:
    """Application codes, the busiest first."""
    made = random.Random("applications")
    return list(APPLICATIONS[:count]) + [
        f"{made.getrandbits(20):05X}-{number:05X}" for number in range(count - len(APPLICATIONS))
    ]


def integration(name: str, url: str, **settings: Any) -> dict[str, Any]:
    """One integration that takes everything unless ``settings`` say otherwise."""
    return {
        "id": name,
        "kind": "http",
        "url": url,
        "events": ["*"],
        "platforms": ["*"],
        "live_activities": True,
        "batch": BATCH,
        **settings,
    }


def sharing(count: int, applications: int, url: str, **settings: Any) -> list[dict[str, Any]]:
    """``count`` integrations that share the applications, so that each event matches exactly one of them."""
    codes = application_codes(applications)
    return [integration(f"i-{number}", url, applications=codes[number::count], **settings) for number in range(count)]
