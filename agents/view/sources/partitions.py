"""Source ``partitions``: one row a partition of the topics that agents read, who owns it and how far it is behind."""

from agents.view.sources.offsets import OffsetWatch
from agents.view.sources.state import WorkerState
from pipeline.view.columns import Column, Columns, Kind, Personal, Row
from pipeline.view.query import Query
from pipeline.view.source import Answer, answer_of


class PartitionsSource:
    """Partitions by their owners."""

    name = "partitions"
    columns: Columns = (
        Column("id", "Topic and partition", Kind.CODE, "Which partition.", is_wide=True),
        Column("topic", "Topic", Kind.CODE, "The topic.", link="/topics/{topic}"),
        Column("partition", "Partition", Kind.INTEGER, "Its number."),
        Column("worker", "Worker", Kind.CODE, "Who owns it.", link="/workers/{worker}"),
        Column("end", "End", Kind.INTEGER, "The offset that the next record gets."),
        Column("committed", "Committed", Kind.INTEGER, "The offset up to which its records are worked off."),
        Column("lag", "Lag", Kind.INTEGER, "Records in between."),
        Column("lag_s", "Lag in time", Kind.SECONDS, "How long the oldest of them has been there, to two seconds."),
        Column("arriving_s", "Arriving/s", Kind.NUMBER, "Records that come in, over ten seconds."),
        Column("committed_s", "Worked off/s", Kind.NUMBER, "Records that were committed, over ten seconds."),
        Column("uncommitted", "Uncommitted chunks", Kind.INTEGER, "Chunks of it that are being worked on."),
        Column("commit_age_s", "Oldest of them", Kind.SECONDS, "How long the oldest has been worked on."),
        Column("at", "As of", Kind.TIME, "When its end was looked at.", is_wide=True),
    )
    key = "id"
    sort = "id"
    is_descending = False

    def __init__(self, state: WorkerState, watch: OffsetWatch) -> None:
        self._state = state
        self._watch = watch

    def partitions(self) -> frozenset[int]:
        """Those that this worker owns, of the routed topic as of all others."""
        return self._state.peers.owned()

    async def answer(self, query: Query, masks: frozenset[Personal]) -> Answer:
        """Find this worker's partitions."""
        return answer_of(self._rows(), query, self.columns, masks)

    def _rows(self) -> list[Row]:
        app, own_url = self._state.app, self._state.peers.own_url
        standings = {(tp.topic, tp.partition): each for tp, each in self._watch.standings().items()}
        uncommitted = {tp: (chunks, age_s) for tp, chunks, age_s in app.consumer.uncommitted()}
        rows: list[Row] = []
        for tp in sorted(app.assignment()):
            topic = app.chunk_topics.get(tp.topic)
            if topic is None or topic.internal:
                continue
            seen = standings.get((tp.topic, tp.partition))
            chunks, age_s = uncommitted.get(tp, (0, 0.0))
            rows.append(
                {
                    "id": f"{tp.topic}/{tp.partition:05d}",
                    "topic": tp.topic,
                    "partition": tp.partition,
                    "worker": own_url,
                    "end": seen and seen.end,
                    "committed": seen and seen.committed,
                    "lag": seen and seen.lag,
                    "lag_s": seen and seen.lag_s,
                    "arriving_s": seen and seen.arriving_s,
                    "committed_s": seen and seen.committed_s,
                    "uncommitted": chunks,
                    "commit_age_s": age_s,
                    "at": seen and seen.at,
                }
            )
        return rows
