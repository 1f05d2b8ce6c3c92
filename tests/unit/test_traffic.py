import itertools
import json
from collections import Counter

import pytest

from pipeline.errors import PoisonError
from pipeline.ingest.decode import EventDecoder
from pipeline.ingest.event import Event
from pipeline.model.platforms import PLATFORMS
from pipeline.traffic import APPLICATIONS, EVENT_NAMES, STARTS_AT_S, campaigns_of, events


def typed(seed: int, count: int) -> list[Event]:
    decoder = EventDecoder("events", 0)
    return [decoder.decode(value, offset)[0] for offset, value in enumerate(events(seed, count))]


@pytest.fixture(scope="module")
def traffic() -> list[Event]:
    return typed(1, 20_000)


def test_one_seed_always_gives_the_same_events() -> None:
    assert list(events(5, 500, poison_share=0.1)) == list(events(5, 500, poison_share=0.1))
    assert list(events(5, 500)) != list(events(6, 500))


def test_no_uuid_comes_twice_under_any_seed(traffic: list[Event]) -> None:
    uuids = [event.uuid for event in itertools.chain(traffic, typed(2, 1000))]
    assert len(set(uuids)) == len(uuids)


def test_every_platform_and_every_kind_of_event_occurs(traffic: list[Event]) -> None:
    assert {event.platform for event in traffic} == set(PLATFORMS) - {"Web"}
    assert {event.event_name for event in traffic} == set(EVENT_NAMES)
    assert {event.application_code for event in traffic} == set(APPLICATIONS)
    assert any(event.live_activity_id for event in traffic)
    assert any(event.journey_title for event in traffic)
    assert any(event.campaign_code is None for event in traffic)
    assert any("👋" in (event.payload or "") for event in traffic)


def test_a_platform_has_its_own_events_and_addresses(traffic: list[Event]) -> None:
    for event in traffic:
        if event.platform == "Email":
            assert event.event_name.startswith("Email ")
            assert "@" in (event.hwid or "")
        if event.event_name.startswith("SMS "):
            assert event.platform == "SMS"


def test_an_event_belongs_to_a_campaign_of_its_application(traffic: list[Event]) -> None:
    for event in traffic:
        codes = {(each.code, each.id, each.message_code) for each in campaigns_of(event.application_code)}
        if event.campaign_code is not None:
            assert (event.campaign_code, event.campaign_id, event.message_code) in codes


def test_the_traffic_is_skewed_and_comes_in_bursts(traffic: list[Event]) -> None:
    (_, busiest), *_, (_, quietest) = Counter(event.application_code for event in traffic).most_common()
    assert busiest > 5 * quietest
    same_again = sum(one.message_code == next_.message_code for one, next_ in itertools.pairwise(traffic))
    assert same_again > len(traffic) / 5


def test_time_never_goes_back(traffic: list[Event]) -> None:
    times = [event.timestamp for event in traffic]
    assert times == sorted(times)
    assert times[0] == STARTS_AT_S


def test_an_event_is_about_377_bytes() -> None:
    sizes = [len(value) for value in events(1, 20_000)]
    assert 360 < sum(sizes) / len(sizes) < 395


def test_the_share_of_poison_is_as_asked_and_the_rest_is_good() -> None:
    decoder = EventDecoder("events", 0)
    reasons: Counter[str] = Counter()
    for value in events(1, 20_000, poison_share=0.1):
        try:
            decoder.decode(value, 1)
        except PoisonError as poison:
            reasons[poison.reason] += 1
    assert 1800 < reasons.total() < 2200
    assert len(reasons) == 11


def test_applications_can_be_chosen() -> None:
    assert {json.loads(value)["application_code"] for value in events(1, 300, applications=["X", "Y"])} == {"X", "Y"}
