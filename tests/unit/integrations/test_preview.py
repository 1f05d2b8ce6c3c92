from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import Settings
from pipeline.ingest.event import Event
from pipeline.ingest.match import MatchIndex
from pipeline.integrations.preview import MOST_SAMPLES, Previewer, preview
from pipeline.model.integration import Integration
from pipeline.model.section import Origin


def integration(**settings: Any) -> Integration:
    whole = {
        "id": "crm",
        "kind": "http",
        "url": "https://crm.example/",
        "events": ["*"],
        "platforms": ["*"],
        **settings,
    }
    return Settings.model_validate({"integrations": [whole]}, context=Origin.FILE).integrations[0]


def event(name: str = "Email Sent", platform: str = "Email", **fields: Any) -> Event:
    given_ = {"application_code": "A", "hwid": "h", "timestamp": 1, **fields}
    return Event(event_name=name, platform=platform, **given_)


EVENTS = st.builds(
    event,
    name=st.sampled_from(["Email Sent", "Push Sent", "SMS Sent"]),
    platform=st.sampled_from(["Email", "iOS", "SMS"]),
    application_code=st.sampled_from(["A", "B"]),
    campaign_code=st.sampled_from([None, "C1", "C2"]),
    live_activity_id=st.sampled_from([None, "L"]),
    timestamp=st.integers(0, 100),
)
FILTERS = st.fixed_dictionaries(
    {
        "events": st.sampled_from([["*"], ["Email Sent"], ["Push Sent", "SMS Sent"]]),
        "platforms": st.sampled_from([["*"], ["iOS"], ["Email", "SMS"]]),
        "applications": st.sampled_from([[], ["A"]]),
        "campaigns": st.sampled_from([[], ["C1"]]),
        "live_activities": st.booleans(),
    }
)


@given(FILTERS, st.lists(EVENTS, max_size=60))
def test_it_counts_what_the_rule_of_the_route_stage_matches(filters: dict[str, Any], events: list[Event]) -> None:
    index = MatchIndex([(integration(**filters), True)])
    matching = [each for each in events if index.match(each)]

    found = preview(integration(**filters), events)

    assert (found.events, found.matching) == (len(events), len(matching))
    assert sum(found.by_event_name.values()) == sum(found.by_platform.values()) == len(matching)


@given(FILTERS, st.lists(EVENTS, max_size=60))
def test_without_a_filter_as_many_more_match_as_it_keeps_away(filters: dict[str, Any], events: list[Event]) -> None:
    found = preview(integration(**filters), events)

    for key, more in found.kept_away.items():
        looser = filters | {key: {"events": ["*"], "platforms": ["*"], "live_activities": True}.get(key, [])}
        assert preview(integration(**looser), events).matching == found.matching + more


def test_a_filter_that_takes_everything_keeps_nothing_away() -> None:
    assert preview(integration(live_activities=True), [event()]).kept_away == {}


def test_an_integration_that_is_not_enabled_is_previewed_all_the_same() -> None:
    assert preview(integration(enabled=False), [event()]).matching == 1


def test_the_samples_are_the_latest_that_match_the_latest_first() -> None:
    events = [event(timestamp=second) for second in (5, 1, 9, 3, *range(20, 40))]

    found = preview(integration(), events)

    assert [sample["timestamp"] for sample in found.samples] == [*range(39, 29, -1)]
    assert len(found.samples) == MOST_SAMPLES


def test_the_most_frequent_names_come_first() -> None:
    found = preview(integration(), [event("Push Sent", "iOS"), event(), event()])

    assert list(found.by_event_name.items()) == [("Email Sent", 2), ("Push Sent", 1)]


def test_samples_are_masked() -> None:
    found = preview(integration(), [event(email="ana@mail.example")], lambda fields: fields | {"email": "hidden"})

    assert found.samples[0]["email"] == "hidden"


def test_events_may_come_a_few_at_a_time() -> None:
    previewer = Previewer(integration(events=["Email Sent"]))
    for each in (event(), event("Push Sent", "iOS"), event()):
        previewer.look_at([each])

    assert previewer.result(dict) == preview(
        integration(events=["Email Sent"]), [event(), event("Push Sent", "iOS"), event()]
    )


@pytest.mark.parametrize("kind", ["email", "xtremepush"])
def test_filters_that_a_kind_needs_are_not_said_to_keep_events_away(kind: str) -> None:
    settings = {"id": "a", "kind": kind, "url": "https://a.example/"}
    whole = settings | ({"channels": ["Email"]} if kind == "xtremepush" else {})
    found = preview(
        Settings.model_validate({"integrations": [whole]}, context=Origin.FILE).integrations[0], [event("Odd", "iOS")]
    )

    assert "platforms" not in found.kept_away
