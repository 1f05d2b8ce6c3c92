"""The chunk engine: Faust agents that are handed whole fetched chunks, and a commit rule that holds.

Stock Faust hands an agent one record at a time, at about 7,000 records a second, and commits an offset after a flush that
can give up on a slow broker. This package subclasses Faust's own extension points (transport, consumer, producer, topic,
stream, agent, table, app) so that

* an agent receives a :class:`Chunk`: a run of records of one partition, as it was fetched;
* what an agent sends goes out as whole record batches through the :class:`Outbox`, one future each;
* a :class:`ChunkTable` takes *row groups*: rows that reach its changelog in one record batch, so all or none of them, and
  reach the local store only after the broker acknowledged them, and count only under the claim of the partition's owner;
* what is urgent (:meth:`ChunkApp.hasten`) waits behind no bulk, and rows may travel in one request with what they follow;
* a chunk's offset is committed only when its agent is done with it **and** everything that the chunk follows
  (:meth:`Chunk.follow`, :meth:`Chunk.hold`) is acknowledged: the end of the longest finished prefix of each partition;
* every owned partition of a topic with ``tick_s`` gets a regular *tick*, an empty chunk, inside the same stream;
* memory is bounded: each topic has a budget of bytes that are handed out and not finished; beyond it that partition is not
  fetched, and no other one waits for it;
* an exception in an agent, a failed send or a process that was asleep for longer than its group membership stops the worker
  with the reason. Nothing is committed, so nothing is lost.

Life of a partition: assigned, table changelogs recovered (as chunks), ticks and chunks flow, then on a rebalance or a
shutdown the flow stops, :meth:`ChunkApp.before_release` callbacks run, running chunks finish, offsets are committed.

What of Faust does not work on chunk topics and tables says so with ``UnsupportedFeatureError``: several agents on one
topic, agents that yield, ``concurrency`` above one, ``isolated_partitions``, ``take``/``group_by``/``through``, joins and the
other per-event operators, derived topics, dictionary-style reads and writes of a table, windowed tables, global tables,
``exactly_once``, the confluent driver.
"""

from agents.engine.app import ChunkApp
from agents.engine.chunk import Chunk, Hold
from agents.engine.claim import CLAIM_KEY, sift
from agents.engine.outbox import Outbox
from agents.engine.packing import Record, RowGroup
from agents.engine.table import ChunkTable
from agents.engine.topic import ChunkTopic

__all__ = [
    "CLAIM_KEY",
    "Chunk",
    "ChunkApp",
    "ChunkTable",
    "ChunkTopic",
    "Hold",
    "Outbox",
    "Record",
    "RowGroup",
    "sift",
]
