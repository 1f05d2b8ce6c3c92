"""What a row of each table is, in one line each."""

from typing import Final

MEANINGS: Final = {
    "ledger": "An integration, with what became of all its events.",
    "ledger_totals": "All integrations together.",
    "hours": "An hour of an integration: what became of the events whose window was opened then.",
    "hour_totals": "An hour of all integrations together.",
    "lanes": "A lane: its open window, what waits, its breaker.",
    "attempts": "A try to deliver a batch.",
    "batches": "A sealed batch, and what came of it.",
    "parked": "A batch that gave up, replayable.",
    "dead_letters": "A source record that cannot be used.",
    "notices": "Something that people were told.",
    "inbound_requests": "A request to a webhook, or a call of Segment's, and what became of it. There only with `inbound`.",
    "webhooks": "An inbound webhook: its settings in short, and what it received. There only with `inbound`.",
    "segment_calls": "What Segment's calls brought for an application. There only with `segment_destination`.",
    "users": "A user of the directory. There only with `inbound`.",
    "replays": "A replay of parked batches or dead letters.",
    "replay_rows": "A batch or dead letter of a replay.",
    "integrations": "An integration: where it delivers to, how it is, its last 24 hours.",
    "audit": "A change or an act: who, when, what.",
    "gates": "A lane, and what holds it back: its breaker, pauses, pace.",
    "open_events": "An event in an open window, which will be sent with the next batch.",
    "rates": "A worker: events a second in, matched, delivered, given up.",
    "workers": "A worker and its state.",
    "partitions": "A partition: who owns it, how far it is.",
    "topics": "A topic, its size and its lag.",
    "topic_partitions": "A partition of a topic.",
    "tables": "A Faust table.",
}


def meaning_of(name: str) -> str:
    """What a row of the SQL table ``name`` is."""
    if name in MEANINGS:
        return MEANINGS[name]
    table = name.removeprefix("table_").removeprefix("rows_")
    return (
        f"A row of the Faust table {table}, with its partition." if table != name else "A row of the view's own lists."
    )
