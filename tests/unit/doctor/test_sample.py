import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.doctor.sample import TEST_TEXT, sample_batch, sample_event
from pipeline.ingest.decode import EventDecoder
from pipeline.ingest.event import PUBLISHED_FIELDS, Event
from pipeline.ingest.match import MatchIndex
from pipeline.model.batch import Purpose, parse_batch_id, purpose_of
from pipeline.model.integration import Integration
from pipeline.model.platforms import PLATFORMS
from pipeline.sinks.registry import SINKS
from pipeline.traffic import EVENT_NAMES
from tests.support.planted import planted

NOW_S = 1_795_000_000.25
CODES = st.lists(st.text("0123456789ABCDEF-", min_size=1, max_size=20), max_size=3, unique=True)


def integration(**more: object) -> Integration:
    usual = {"id": "crm", "kind": "http", "url": "https://crm.example/", "events": "*", "platforms": "*"}
    return Integration.model_validate(usual | more)


@given(
    events=st.just(["*"]) | st.lists(st.sampled_from(EVENT_NAMES), min_size=1, max_size=4),
    platforms=st.just(["*"]) | st.lists(st.sampled_from(sorted(PLATFORMS)), min_size=1, max_size=4),
    applications=CODES,
    campaigns=CODES,
    messages=CODES,
    live_activities=st.booleans(),
)
def test_the_integration_takes_it_whatever_its_filters(**filters: object) -> None:
    own = integration(**filters)
    batch = sample_batch(own, now_s=NOW_S)
    whole = integration(**filters, fields="all")
    (encoded,) = sample_batch(whole, now_s=NOW_S).run().events()
    event, _ = EventDecoder("test", 0).decode(encoded, 0)
    assert [*MatchIndex([(own, "crm")]).match(event)] == ["crm"]
    assert batch.event_count == 1


def test_it_has_every_field_that_an_event_may_have() -> None:
    event = sample_event(integration(events="Live Activity Updated", live_activities=True), now_s=NOW_S)
    assert [name for name in Event.__struct_fields__ if getattr(event, name) is None] == []


def test_an_ordinary_event_has_no_live_activity() -> None:
    assert sample_event(integration(live_activities=True), now_s=NOW_S).live_activity_id is None


@pytest.mark.parametrize(
    ("events", "platforms", "chosen"),
    [
        ("*", "*", ("Push Sent", "iOS")),
        ("*", "Email", ("Email Sent", "Email")),
        ("Push Opened, SMS Sent", "SMS", ("SMS Sent", "SMS")),
        ("WhatsApp Read", "*", ("WhatsApp Read", "WhatsApp")),
        ("Live Activity Ended", "*", ("Live Activity Ended", "iOS")),
        ("Something Of Ours", "Email, Chrome", ("Something Of Ours", "Chrome")),
        ("Push Sent", "Email", ("Push Sent", "Email")),
    ],
)
def test_name_and_platform_belong_together_where_the_filters_allow(
    events: str, platforms: str, chosen: tuple[str, str]
) -> None:
    event = sample_event(integration(events=events, platforms=platforms), now_s=NOW_S)
    assert (event.event_name, event.platform) == chosen


def test_it_says_that_it_is_a_test() -> None:
    event = sample_event(integration(), now_s=NOW_S)
    assert event.payload == TEST_TEXT
    assert "test" in f"{event.user_id}"
    batch = sample_batch(integration(), now_s=NOW_S)
    assert purpose_of(batch.lane) is Purpose.TEST
    assert parse_batch_id(batch.id) == ("crm~test", 1_795_000_000_250, 1_795_000_000_251)


def test_two_of_them_differ_in_uuid_and_number() -> None:
    first, second = (sample_batch(integration(), now_s=NOW_S + step) for step in (0, 0.001))
    assert first.id != second.id
    assert first.block != second.block


def test_published_fields_are_all_that_is_sent_where_no_others_are_wanted() -> None:
    (event,) = sample_batch(integration(), now_s=NOW_S).run().events()
    assert event.startswith(b'{"event_name":')
    assert b"campaign_code" not in event
    assert all(f'"{name}":'.encode() in event for name in PUBLISHED_FIELDS if name != "live_activity_id")


@pytest.mark.parametrize("fields", ["known", "all"])
def test_all_fields_are_sent_where_they_are_wanted(fields: str) -> None:
    (event,) = sample_batch(integration(fields=fields), now_s=NOW_S).run().events()
    assert b'"campaign_code":' in event


@pytest.mark.parametrize("spec", SINKS, ids=lambda spec: spec.kind)
def test_every_kind_gets_one_that_it_takes(spec) -> None:
    own = planted(spec, f"{spec.settings.url_schemes[0]}://crm.example/")[0].read(spec)
    event = sample_event(own, now_s=NOW_S)
    assert [*MatchIndex([(own, "crm")]).match(event)] == ["crm"]
