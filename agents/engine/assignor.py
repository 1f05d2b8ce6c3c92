"""Which worker gets which partitions: those of a stage and of its tables always together."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import structlog
from faust.assignor.partition_assignor import PartitionAssignor
from faust.types.tuples import TP

log = structlog.get_logger(__name__)


class ChunkAssignor(PartitionAssignor):
    """Assigns all topics with equally many partitions as one, to the workers that read all of them.

    Faust puts together only topics that the same members subscribe to. A member that knows some of them, as one that was told
    to stop while it started, would part a stage from its tables: partition 3 here, its changelog there. Two workers would
    then write into one table. Here such a member gets nothing; neither does anybody where nobody reads all.
    """

    @classmethod
    def _get_copartitioned_groups(
        cls, topics: set[str], cluster: object, subscriptions: Mapping[str, Collection[str]]
    ) -> dict[int, list[set[str]]]:
        groups: defaultdict[int, set[str]] = defaultdict(set)
        for topic in topics:
            partitions = cluster.partitions_for_topic(topic)  # type: ignore[attr-defined]
            if partitions:  # a topic that the leader has not heard of yet is noticed by those who miss it
                groups[len(partitions)].add(topic)
        whole = {}
        for count, members_of_group in groups.items():
            if any(members_of_group.issubset(subscription) for subscription in subscriptions.values()):
                whole[count] = [members_of_group]
            else:
                log.warning(
                    "no worker reads all of these topics, so none of them is assigned", topics=sorted(members_of_group)
                )
        return whole


def torn_topics(own: Iterable[TP], counts: Mapping[str, int | None]) -> Sequence[str]:
    """Which topics came without the same partitions of others that have as many; none if all is well.

    ``own`` are the partitions of this worker, ``counts`` tells how many partitions each topic has, ``None`` where that is not
    known: such a topic may be torn.
    """
    partitions: defaultdict[str, set[int]] = defaultdict(set)
    for tp in own:
        partitions[tp.topic].add(tp.partition)
    common: defaultdict[int | None, Counter[frozenset[int]]] = defaultdict(Counter)
    for topic, count in counts.items():
        common[count][frozenset(partitions[topic])] += 1
    usual = {count: found.most_common(1)[0][0] for count, found in common.items()}
    return sorted(
        topic for topic, count in counts.items() if count is None or frozenset(partitions[topic]) != usual[count]
    )
