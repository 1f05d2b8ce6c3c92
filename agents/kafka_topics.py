"""Topics as an administrator sees them."""

from collections.abc import Iterable, Sequence
from typing import Self

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError

from agents.topology import MAX_RECORD_BYTES
from pipeline.model.topic import FoundTopic


async def ensure_topic(brokers: str, topic: str, partitions: int) -> int:
    """Create ``topic`` unless it exists; gives the number of partitions that it has."""
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    try:
        await admin.start()
        for described in await admin.describe_topics([topic]):
            if described.get("partitions"):
                return len(described["partitions"])
        try:
            await admin.create_topics(
                [NewTopic(topic, partitions, 1, topic_configs={"max.message.bytes": str(MAX_RECORD_BYTES)})]
            )
        except TopicAlreadyExistsError:  # somebody was quicker
            return await ensure_topic(brokers, topic, partitions)
        return partitions
    finally:
        await admin.close()


class Administrator:
    """Says how topics are, as long as the block lasts."""

    def __init__(self, brokers: str) -> None:
        self._admin = AIOKafkaAdminClient(bootstrap_servers=brokers)

    async def __aenter__(self) -> Self:
        try:
            await self._admin.start()
        except BaseException:  # cancelled or refused, it must not stay half open
            await self._admin.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()

    async def find(self, topics: Sequence[str]) -> dict[str, FoundTopic]:
        """Those of ``topics`` that exist, in two requests. Settings that may not be read are left out."""
        settings = await settings_of(self._admin, topics)
        # All topics, since a broker may make the ones that are asked for by name.
        described = {each["topic"]: len(each["partitions"]) for each in await self._admin.describe_topics()}
        return {
            topic: FoundTopic(
                described[topic],
                cleanup_policy=found.get("cleanup.policy"),
                max_batch_bytes=int(found["max.message.bytes"]) if "max.message.bytes" in found else None,
            )
            for topic, found in settings.items()
            if described.get(topic)
        }


async def settings_of(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> dict[str, dict[str, str]]:
    """The broker's settings of those of ``topics`` that exist; none of one whose settings may not be read."""
    wanted = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    return {
        topic: {entry[0]: entry[1] for entry in entries}
        for answer in await admin.describe_configs(wanted)
        for code, _message, _type, topic, entries, *_ in answer.resources
        if code != UnknownTopicOrPartitionError.errno
    }
