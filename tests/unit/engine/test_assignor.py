"""A stage and its tables stay together, whoever joins the group with whatever subscription."""

from collections.abc import Iterable, Mapping
from types import SimpleNamespace

from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.types.tuples import TP
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from agents.engine.assignor import ChunkAssignor, torn_topics

OWN = ("routed", "batches", "windows-changelog", "pending-changelog")
HALF = frozenset({0, 3})
PARTITIONS = {**dict.fromkeys(OWN, 4), "source": 6}


class Cluster:
    """What a member knows of the topics."""

    def __init__(self, counts: dict[str, int]) -> None:
        self._counts = counts

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self._counts[topic])) if topic in self._counts else None


def assigned(
    subscriptions: dict[str, set[str]],
    before: dict[str, dict[str, list[int]]] | None = None,
    counts: dict[str, int] | None = None,
) -> dict[str, dict[str, list[int]]]:
    """The partitions of each topic that each member gets."""
    app = SimpleNamespace(
        tables=SimpleNamespace(data={}, changelog_topics={topic for topic in OWN if topic.endswith("changelog")}),
        conf=SimpleNamespace(canonical_url=URL("http://worker")),
        sensors=SimpleNamespace(
            on_assignment_start=lambda _: {},
            on_assignment_completed=lambda *_: None,
            on_assignment_error=lambda *_: None,
        ),
        tracer=None,
    )
    assignor = ChunkAssignor(app)
    members = {
        member: ConsumerProtocolMemberMetadata(
            0,
            list(topics),
            ClientMetadata(
                assignment=ClientAssignment(actives=(before or {}).get(member, {}), standbys={}),
                url=f"http://{member}",
                changelog_distribution={},
                external_topic_distribution={},
            ).dumps(),
        )
        for member, topics in subscriptions.items()
    }
    answer = assignor.assign(Cluster(PARTITIONS if counts is None else counts), members)
    return {member: dict(each.assignment) for member, each in answer.items()}


ALL = set(PARTITIONS)
SUBSCRIPTIONS = st.dictionaries(
    st.sampled_from(["m1", "m2", "m3", "m4", "m5"]),
    st.one_of(st.just(ALL), st.sets(st.sampled_from(sorted(ALL)), min_size=1)),
    min_size=1,
)


@given(subscriptions=SUBSCRIPTIONS, later=SUBSCRIPTIONS)
def test_each_member_has_the_same_partitions_of_all_topics_that_belong_together(subscriptions, later) -> None:
    first = assigned({"whole": ALL, **subscriptions})

    found = assigned({"whole": ALL, **later}, before=first)

    for partitions in found.values():
        assert len({frozenset(partitions.get(topic, ())) for topic in OWN}) == 1


@given(subscriptions=SUBSCRIPTIONS, later=SUBSCRIPTIONS)
def test_every_partition_has_one_owner_where_somebody_reads_all_topics(subscriptions, later) -> None:
    first = assigned({"whole": ALL, **subscriptions})

    found = assigned({"whole": ALL, **later}, before=first)

    for topic, count in PARTITIONS.items():
        assert sorted(each for partitions in found.values() for each in partitions.get(topic, ())) == list(range(count))


def test_a_member_that_reads_only_some_of_the_topics_gets_none_of_them() -> None:
    found = assigned({"whole": ALL, "half": {"routed", "batches"}})

    assert found["half"] == {}


def test_topics_that_nobody_reads_together_are_assigned_to_nobody() -> None:
    found = assigned({"one": {"routed", "source"}, "other": {"batches"}})

    assert found == {"one": {"source": [0, 1, 2, 3, 4, 5]}, "other": {}}


def test_a_topic_that_the_leader_does_not_know_is_assigned_to_nobody() -> None:
    known = {topic: count for topic, count in PARTITIONS.items() if topic != "windows-changelog"}

    found = assigned({"whole": ALL}, counts=known)

    assert "windows-changelog" not in found["whole"]


def tps(partitions: Mapping[str, Iterable[int]]) -> list[TP]:
    return [TP(topic, each) for topic, found in partitions.items() for each in found]


def test_an_assignment_with_the_same_partitions_of_all_topics_is_whole() -> None:
    own = tps({**dict.fromkeys(OWN, HALF), "source": {1}})

    assert torn_topics(own, PARTITIONS) == []


def test_a_changelog_without_its_partition_is_named() -> None:
    own = tps({**dict.fromkeys(OWN, HALF), "windows-changelog": {0, 2}, "source": {1}})

    assert torn_topics(own, PARTITIONS) == ["windows-changelog"]


def test_a_topic_of_which_nothing_came_is_named() -> None:
    own = tps({topic: {0, 3} for topic in OWN if topic != "batches"})

    assert torn_topics(own, PARTITIONS) == ["batches"]


def test_a_worker_without_any_partition_misses_none() -> None:
    assert torn_topics([], PARTITIONS) == []


def test_a_topic_whose_partitions_nobody_knows_is_named() -> None:
    own = tps(dict.fromkeys(OWN, HALF))

    assert torn_topics(own, {**PARTITIONS, "routed": None}) == ["routed"]
