import sys
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.event import Event
from pipeline.ingest.match import MatchIndex
from pipeline.model.integration import Integration

APPLICATIONS = ["A", "B", "C"]
NAMES = ["Push Sent", "Email Opened", "SMS Sent"]
PLATFORMS = ["iOS", "Email", "SMS"]
CAMPAIGNS = ["K1", "K2", "K3"]
MESSAGES = ["M1", "M2"]


def integration(**filters: Any) -> Integration:
    return Integration(
        **({"id": "x", "kind": "http", "url": "https://x.example", "events": "*", "platforms": "*"} | filters)
    )


def event(**fields: Any) -> Event:
    given = {"application_code": "A", "event_name": "Push Sent", "platform": "iOS", "timestamp": 1, "hwid": "h"}
    return Event(**(given | fields))


def some(names: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), min_size=1, unique=True)


def some_or_all(names: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return some(names) | st.just(["*"])


def some_or_any(names: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.just([]) | some(names)


integrations = st.builds(
    integration,
    applications=some_or_any(APPLICATIONS),
    events=some_or_all(NAMES),
    platforms=some_or_all(PLATFORMS),
    campaigns=some_or_any(CAMPAIGNS),
    messages=some_or_any(MESSAGES),
    live_activities=st.booleans(),
    enabled=st.sampled_from([True, True, False]),
)
# The traffic also has names that no integration lists.
events = st.builds(
    event,
    application_code=st.sampled_from([*APPLICATIONS, "Z"]),
    event_name=st.sampled_from([*NAMES, "push sent"]),
    platform=st.sampled_from([*PLATFORMS, "Line"]),
    campaign_code=st.sampled_from([*CAMPAIGNS, "", None]),
    message_code=st.sampled_from([*MESSAGES, "M9", None]),
    live_activity_id=st.sampled_from([None, None, "", "L1"]),
)


def takes(integration: Integration, event: Event) -> bool:
    """The contract's delivery test, word for word."""
    return (
        integration.enabled
        and (not integration.applications or event.application_code in integration.applications)
        and ("*" in integration.events or event.event_name in integration.events)
        and ("*" in integration.platforms or event.platform in integration.platforms)
        and (not integration.campaigns or event.campaign_code in integration.campaigns)
        and (not integration.messages or event.message_code in integration.messages)
        and (not event.live_activity_id or integration.live_activities)
    )


@given(configured=st.lists(integrations, max_size=8), traffic=st.lists(events, max_size=12))
def test_the_index_finds_what_asking_each_integration_would_find(
    configured: list[Integration], traffic: list[Event]
) -> None:
    index = MatchIndex((each, position) for position, each in enumerate(configured))
    # Twice: what is remembered must be what was found.
    for each in [*traffic, *traffic]:
        found = index.match(each)
        assert sorted(found) == [position for position, one in enumerate(configured) if takes(one, each)]


@given(configured=st.lists(integrations, max_size=6), traffic=st.lists(events, min_size=1, max_size=6))
def test_the_order_of_the_matches_does_not_depend_on_what_was_asked_before(
    configured: list[Integration], traffic: list[Event]
) -> None:
    entries = [(each, position) for position, each in enumerate(configured)]
    asked = MatchIndex(entries)
    for each in traffic:
        assert list(asked.match(each)) == list(MatchIndex(entries).match(each))


def test_names_that_only_the_traffic_knows_are_not_kept() -> None:
    index = MatchIndex(
        [(integration(), 1), (integration(applications=["A"], events=["Push Sent"], platforms=["iOS"]), 2)]
    )

    def size() -> int:
        filters = index._ordinary
        return len(filters._of_every_name) + sum(1 + len(each) for each in filters._by_name.values())

    before = size()
    for number in range(100):
        assert index.match(event(application_code=f"made up {number}")) == (1,)
        assert index.match(event(event_name=f"made up {number}")) == (1,)
    assert size() == before


def test_the_work_follows_the_matches_and_not_the_integrations() -> None:
    def steps(others: int) -> int:
        """How many lines run for one match, once its kind is known."""
        wanted = integration(campaigns=["K1"])
        rest = [integration(campaigns=[f"other {number}"]) for number in range(others)]
        index = MatchIndex((each, position) for position, each in enumerate([wanted, *rest]))
        asked = event(campaign_code="K1")
        assert list(index.match(asked)) == [0]
        lines = 0

        def count(*_: object) -> Any:
            nonlocal lines
            lines += 1
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            index.match(asked)
        finally:
            sys.settrace(before)
        return lines

    assert steps(others=2000) == steps(others=1)


@given(
    configured=st.lists(integrations, max_size=6),
    revisions=st.lists(
        st.dictionaries(st.sampled_from(["c0", "c1", "c2", "c3", "new"]), st.none() | integrations, max_size=4),
        max_size=3,
    ),
    traffic=st.lists(events, min_size=1, max_size=8),
)
def test_a_revised_index_finds_what_a_new_one_of_the_same_integrations_finds(
    configured: list[Integration], revisions: list[dict[str, Integration | None]], traffic: list[Event]
) -> None:
    now = {f"c{number}": named(each, f"c{number}") for number, each in enumerate(configured)}
    index = MatchIndex((each, each.id) for each in now.values())
    for changes in revisions:
        for each in traffic:
            index.match(each)  # what is remembered must not outlive the change
        changed = {name: None if each is None else named(each, name) for name, each in changes.items()}
        steps = index.revise({name: None if each is None else (each, name) for name, each in changed.items()})
        for _ in steps:
            for each in traffic:
                assert sorted(index.match(each)) == sorted(name for name, one in now.items() if takes(one, each))
        now = {name: each for name, each in (now | changed).items() if each is not None}
        for each in traffic:
            assert sorted(index.match(each)) == sorted(name for name, one in now.items() if takes(one, each))
    expected = MatchIndex((each, each.id) for each in now.values())
    assert index._ordinary._by_name.keys() == expected._ordinary._by_name.keys()
    assert index._live._of_every_name.keys() == expected._live._of_every_name.keys()


def named(integration: Integration, name: str) -> Integration:
    return integration.model_copy(update={"id": name})


def test_a_change_among_many_touches_the_answers_that_it_is_part_of_and_no_others() -> None:
    entries = [(integration(id=f"c{number}", applications=[f"A{number}"]), f"c{number}") for number in range(1000)]
    index = MatchIndex(entries)
    changed = integration(id="c7", applications=["A7"], events=["Push Sent"])
    assert sum(1 for _ in index.revise({"c7": (changed, "c7")})) <= 2
    assert index.match(event(application_code="A7", event_name="Email Opened")) == ()
    assert index.match(event(application_code="A7")) == ("c7",)
    assert index.match(event(application_code="A8", event_name="Email Opened")) == ("c8",)
