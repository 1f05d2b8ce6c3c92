"""The reason that is given agrees with what the flow does."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.event import Event
from pipeline.ingest.match import MatchIndex
from pipeline.sinks.http import HttpIntegration
from pipeline.view.refusal import refusal

NAMES = st.sampled_from(["Push Sent", "Email Opened"])
PLATFORMS = st.sampled_from(["iOS", "Email"])
CODES = st.sampled_from(["A", "B"])


def some(values: st.SearchStrategy, least: int = 0) -> st.SearchStrategy:
    return st.lists(values, unique=True, min_size=least)


@given(
    keys=st.fixed_dictionaries(
        {
            "events": st.one_of(some(NAMES, 1), st.just(["*"])),
            "platforms": st.one_of(some(PLATFORMS, 1), st.just(["*"])),
            "applications": some(CODES),
            "campaigns": some(CODES),
            "messages": some(CODES),
            "live_activities": st.booleans(),
            "enabled": st.booleans(),
        }
    ),
    event=st.builds(
        Event,
        event_name=NAMES,
        platform=PLATFORMS,
        application_code=CODES,
        campaign_code=st.one_of(st.none(), CODES),
        message_code=st.one_of(st.none(), CODES),
        live_activity_id=st.one_of(st.none(), st.just("live")),
        timestamp=st.just(1),
    ),
)
def test_a_reason_is_given_exactly_where_the_event_is_not_taken(keys: dict, event: Event) -> None:
    integration = HttpIntegration.model_validate({"id": "crm", "kind": "http", "url": "https://crm.example/", **keys})
    is_taken = bool(MatchIndex([(integration, "crm")]).match(event))
    assert (refusal(integration, event) is None) == is_taken
