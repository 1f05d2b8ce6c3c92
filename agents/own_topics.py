"""The project's own topics as a worker starts: compared with what they must be, and made where they are missing."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import structlog

from agents.engine import ChunkApp
from agents.kafka_topics import Administrator
from agents.topology import MAX_RECORD_BYTES, Topology
from pipeline.errors import ConfigError
from pipeline.model.topic import WantedTopic, mismatches

KNOWN_WITHIN_S: Final = 10.0
"""How long a topic that was just made may be unknown to the broker that is asked."""
LOOK_AGAIN_S: Final = 0.1

log = structlog.get_logger(__name__)


def wanted_topics(app: ChunkApp, topology: Topology) -> list[WantedTopic]:
    """All that are declared, but the source topic: that one is somebody else's."""
    source = topology.source.get_topic_name()
    changelogs = [table.changelog_topic for table in app.tables.values()]
    declared = {topic.get_topic_name(): topic for topic in (*app.chunk_topics.values(), *changelogs, *topology.outputs)}
    return [_wanted(name, topic) for name, topic in sorted(declared.items()) if name != source]


def _wanted(name: str, topic: Any) -> WantedTopic:
    return WantedTopic(name, topic.partitions, is_compacted=bool(topic.compacting), max_batch_bytes=MAX_RECORD_BYTES)


async def ensure_own_topics(app: ChunkApp, topology: Topology, brokers: str) -> None:
    """Create what does not exist yet, before anything is read or sent.

    Raises ``ConfigError``, with a line for each topic that exists and cannot serve. That is found out before anything is made,
    so that no topic is left with a partition count that was a mistake; what another worker made meanwhile is compared after.
    """
    wanted = wanted_topics(app, topology)
    async with Administrator(brokers) as administrator:
        known = await _compared(administrator, wanted)
        made = set(await topology.create_topics()) - known
        fresh = [topic for topic in wanted if topic.name in made]
        began_s = asyncio.get_running_loop().time()
        while fresh:
            known = await _compared(administrator, fresh)
            fresh = [topic for topic in fresh if topic.name not in known]
            if fresh and asyncio.get_running_loop().time() - began_s > KNOWN_WITHIN_S:
                log.warning("topics that were made are not known to the broker yet", topics=[t.name for t in fresh])
                return
            if fresh:
                await asyncio.sleep(LOOK_AGAIN_S)


async def _compared(administrator: Administrator, wanted: Iterable[WantedTopic]) -> set[str]:
    """Names of those that exist; raises ``ConfigError`` where some are not as they must be."""
    wanted = list(wanted)
    found = await administrator.find([topic.name for topic in wanted])
    if problems := mismatches(wanted, found):
        raise ConfigError(problems)
    return set(found)
