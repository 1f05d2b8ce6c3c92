"""Topics as an administrator sees them: for commands, which have no worker."""

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from agents.topology import MAX_RECORD_BYTES


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
