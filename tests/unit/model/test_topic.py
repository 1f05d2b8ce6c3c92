"""What is said of topics that exist and are not as they must be."""

import pytest

from pipeline.model.topic import FoundTopic, WantedTopic, mismatches

QUEUE = WantedTopic("shop-routed", 4, is_compacted=False, max_batch_bytes=1000)
TABLE = WantedTopic("shop-windows-changelog", 4, is_compacted=True, max_batch_bytes=1000)


def said(wanted: WantedTopic, **found) -> list[str]:
    policy = "compact" if wanted.is_compacted else "delete"
    good = {"partitions": 4, "cleanup_policy": policy, "max_batch_bytes": 1000}
    return mismatches([wanted], {wanted.name: FoundTopic(**{**good, **found})})


@pytest.mark.parametrize("wanted", [QUEUE, TABLE])
def test_nothing_is_said_of_a_topic_that_is_as_wanted_or_not_there_yet(wanted):
    assert said(wanted) == []
    assert said(wanted, max_batch_bytes=2000) == []
    assert mismatches([wanted], {}) == []


def test_nothing_is_said_of_settings_that_the_broker_does_not_tell():
    assert said(TABLE, cleanup_policy=None, max_batch_bytes=None) == []


def test_another_partition_count_is_refused_with_the_setting_that_fits():
    wanted = [QUEUE._replace(partitions=2), TABLE._replace(partitions=2)]
    found = {QUEUE.name: FoundTopic(4), TABLE.name: FoundTopic(4)}
    assert mismatches(wanted, found) == [
        f"{topic.name}: has 4 partitions, and 2 are wanted: write `partitions: 4` again, or choose a new `app`"
        for topic in wanted
    ]


def test_a_single_topic_that_has_too_few_partitions_is_to_get_them():
    names = ["a", "b", "c"]
    found = {"a": FoundTopic(4), "b": FoundTopic(4), "c": FoundTopic(1)}
    [line] = mismatches([QUEUE._replace(name=name) for name in names], found)
    assert line.startswith(
        "c: has 1 partition, and 4 are wanted: add them (kafka-topics --alter --topic c --partitions 4)"
    )


def test_of_two_counts_that_are_as_frequent_the_wanted_one_is_kept():
    found = {QUEUE.name: FoundTopic(2), TABLE.name: FoundTopic(4)}
    [line] = mismatches([QUEUE, TABLE], found)
    assert "--topic shop-routed --partitions 4" in line


def test_a_single_topic_that_has_too_many_partitions_is_to_be_made_anew():
    names = ["a", "b", "c"]
    found = {"a": FoundTopic(4), "b": FoundTopic(4), "c": FoundTopic(8)}
    [line] = mismatches([QUEUE._replace(name=name) for name in names], found)
    assert line.startswith("c: has 8 partitions, and 4 are wanted: delete it if nothing in it is needed")


@pytest.mark.parametrize("policy", ["compact", "compact,delete", "delete, compact"])
def test_a_topic_that_records_wait_in_is_not_compacted(policy):
    [line] = said(QUEUE, cleanup_policy=policy)
    assert line.startswith(f"shop-routed: has cleanup.policy={policy}, and delete is wanted")
    assert line.endswith(
        "kafka-configs --alter --entity-type topics --entity-name shop-routed --add-config cleanup.policy=delete"
    )


@pytest.mark.parametrize("policy", ["delete", "compact,delete", ""])
def test_a_changelog_is_compacted_and_nothing_else(policy):
    [line] = said(TABLE, cleanup_policy=policy)
    assert line.startswith(f"shop-windows-changelog: has cleanup.policy={policy}, and compact is wanted")
    assert line.endswith("--entity-name shop-windows-changelog --add-config cleanup.policy=compact")


def test_a_topic_takes_the_largest_batch_that_is_written():
    [line] = said(QUEUE, max_batch_bytes=999)
    assert line.startswith("shop-routed: has max.message.bytes=999, and 1000 is wanted: kafka-configs --alter")


def test_all_that_is_wrong_with_a_topic_stands_in_one_line_and_each_topic_has_its_own():
    found = {QUEUE.name: FoundTopic(8, "compact", 1), TABLE.name: FoundTopic(8, "delete", 1)}
    lines = mismatches([QUEUE, TABLE], found)
    assert [line.partition(":")[0] for line in lines] == [QUEUE.name, TABLE.name]
    for line in lines:
        assert "8 partitions" in line
        assert "cleanup.policy" in line
        assert "max.message.bytes=1," in line
