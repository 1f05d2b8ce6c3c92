"""The integrations of the test, and which events each of them should get, said a second time in the plainest way."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.model.platforms import PLATFORMS
from pipeline.traffic import APPLICATIONS, campaigns_of

MAX_AGE_S = 2.0
MAX_IN_FLIGHT = 4
_PUSH = ["Push Sent", "Push Delivered", "Push Opened"]
_EMAIL = ["Email Sent", "Email Delivered", "Email Opened", "Email Bounced"]
_NAMES = {code: name for name, code in PLATFORMS.items() if code is not None}


OTHER_KINDS = ("grpc", "email", "xtremepush", "segment")
ONE_BY_ONE = ("grpc", "email", "xtremepush")
"""Kinds whose events arrive one by one, each under a number of its own."""
STREAMED = ("grpc",)
"""Those of them that come over a stream, whose end says that the try is over."""
WITHOUT_UUID = ("email", "xtremepush")
"""Kinds whose format has no uuid: the batches topic says which event a number stands for."""


def integrations(count: int, urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """``count`` integrations by HTTP and one of each other kind for each ten of them, as faust.yml has them.

    Filters, batch limits, bodies and endpoints are of all sorts; ``urls`` says where the receiver of each kind is.
    """
    by_http = [_integration(number, urls["http"].rstrip("/")) for number in range(count)]
    return by_http + [
        _of_other_kind(kind, number, urls[kind].rstrip("/")) for number in range(count // 10) for kind in OTHER_KINDS
    ]


def _of_other_kind(kind: str, number: int, url: str) -> dict[str, Any]:
    """One try in five fails, by the receiver's own choice or by the path."""
    application = APPLICATIONS[number % len(APPLICATIONS)]
    flaky = f"{url}/fail/503/0.2/{kind}-{number}"
    shapes: dict[str, dict[str, Any]] = {
        "grpc": {"url": url, "events": "*", "platforms": "*", "max_events_per_message": number % 2 * 9 + 1},
        "email": {"url": flaky, "events": _EMAIL, "platforms": "Email", "batch": {"max_events": 10}},
        "xtremepush": {
            "url": flaky, "events": ["Push Sent", "Push Delivered"], "platforms": ["iOS"], "channels": "*",
            "auth": {"type": "signed", "secret": "conservation-secret"}, "batch": {"max_events": 10},
        },
        "segment": {"url": flaky, "events": "*", "platforms": "*", "write_key": "conservation-key"},
    }  # fmt: skip
    shape = shapes[kind]
    if kind in ("grpc", "segment"):
        shape["batch"] = {"max_events": 50, "max_age": f"{MAX_AGE_S:g}s"}
    retry = {"delays": ["20ms"] * 12}
    return {"id": f"{kind}-{number}", "kind": kind, "applications": [application], "retry": retry, **shape}


def _integration(number: int, url: str) -> dict[str, Any]:
    application = APPLICATIONS[(number // 10 * 3 + number) % len(APPLICATIONS)]
    campaigns = campaigns_of(application)
    anything = {"events": "*", "platforms": "*"}
    several = {"applications": [] if number < 10 else [application]}
    shapes: list[dict[str, Any]] = [
        {**anything, **several, "live_activities": True, "fields": "all"},
        {**several, "events": _PUSH, "platforms": ["iOS", 3, "Chrome"], "batch": {"max_events": 60, "max_bytes": "8KiB"}},
        {**several, "events": _EMAIL, "platforms": "Email", "body": "envelope", "compression": "gzip"},
        {**anything, "applications": [application], "ordered": True, "batch": {"max_events": 20}},
        {**anything, "campaigns": [each.code for each in campaigns[:3]]},
        {**anything, "messages": [each.message_code for each in campaigns[:2]], "batch": {"max_events": 7}},
        {**anything, "applications": [application], "live_activities": True, "batch": {"max_events": 1000, "max_age": "1s"}},
        {  # one try in five fails; that all thirteen do is not to be expected in this life
            **anything, "applications": [application], "url": f"{url}/fail/503/0.2/flaky",
            "retry": {"delays": ["20ms"] * 12},
        },
        {
            **anything, "applications": [application], "url": f"{url}/fail/503/always", "retry": {"delays": ["50ms", "100ms"]},
            "breaker": {"enabled": False},  # or its batches would wait for an endpoint that never works
        },
        {
            **anything, "applications": [application], "url": f"{url}/fail/400/always",
            "retry": {"delays": [], "on_exhausted": "park" if number % 20 == 19 else "discard"}, "breaker": {"enabled": False},
        },
    ]  # fmt: skip
    shape = shapes[number % len(shapes)]
    shape["batch"] = {"max_age": f"{MAX_AGE_S:g}s", **shape.get("batch", {})}
    return {"id": f"customer-{number}", "kind": "http", "url": f"{url}/customer-{number}", **shape}


def ending_of(integration: dict[str, Any]) -> str:
    """What must become of all its events: a key of the ledger."""
    path = integration["url"]
    if "/fail/400" in path:
        retry = integration["retry"]
        return "parked" if retry["on_exhausted"] == "park" else "discarded"
    return "parked" if path.endswith("/always") else "delivered"


class _Traits(NamedTuple):
    """All of an event that integrations ask for."""

    application: str
    name: str
    platform: str
    campaign: str | None
    message: str | None
    is_live: bool


class Matcher:
    """Asks every integration about every event."""

    def __init__(self, integrations: list[dict[str, Any]]) -> None:
        self._integrations = integrations
        self._known: dict[_Traits, tuple[int, ...]] = {}

    def match(self, event: bytes) -> tuple[str, tuple[int, ...]]:
        """The event's uuid, and the numbers of the integrations that get it."""
        fields = json.loads(event)
        platform = fields["platform"]
        traits = _Traits(
            fields["application_code"],
            fields["event_name"],
            _NAMES.get(platform, platform),
            fields.get("campaign_code"),
            fields.get("message_code"),
            fields.get("live_activity_id") is not None,
        )
        found = self._known.get(traits)
        if found is None:
            found = self._known[traits] = tuple(
                number for number, each in enumerate(self._integrations) if _wants(each, traits)
            )
        return fields["uuid"], found


def _wants(integration: dict[str, Any], traits: _Traits) -> bool:
    def has(key: str, value: str | None) -> bool:
        asked = integration.get(key) or "*"
        if asked == "*":
            return True
        return value in [_NAMES.get(each, each) for each in ([asked] if isinstance(asked, str) else asked)]

    return (
        has("applications", traits.application)
        and has("events", traits.name)
        and has("platforms", traits.platform)
        and has("campaigns", traits.campaign)
        and has("messages", traits.message)
        and (integration.get("live_activities", False) or not traits.is_live)
    )
