"""What became of each batch, kept up to date at the cost of what is new.

A batch waits in ``waiting_batches`` until all its events are done, and is then moved to ``batches``, which is only ever added
to. New tries meet the few batches that wait, however many there were before. A try belongs to the waiting batch of its lane
whose numbers hold its own: it may be of a part. Tries that come before their batch (two topics have no order between them)
wait for it in ``unplaced``.
"""

from typing import Final

NEWS: Final = """
CREATE OR REPLACE TEMP TABLE news AS
    SELECT "partition", kind, lane, "first", "end", "at", tries, delivered, parked, closed, final, status, detail FROM unplaced
    UNION ALL
    SELECT
        "partition", kind, lane, "first", "end", "at", 1, CASE WHEN final = 'delivered' THEN events - given_up ELSE arrived END,
        0, CASE WHEN final IS NULL THEN arrived + given_up ELSE events END, final, status, detail
    FROM new_attempts
    UNION ALL
    SELECT "partition", kind, lane, "first", "end", parked_at, 0, 0, events, 0, 'parked', NULL, reason FROM new_parked
"""
"""Tries and parkings that are to find their batch."""

PLACE: Final = """
CREATE OR REPLACE TEMP TABLE placed AS
    SELECT held.place AS of, new.rowid AS news_row, new.*
    FROM (SELECT rowid, * FROM news) AS new
    ASOF JOIN (
        SELECT place, kind, lane, "first", "end", reason, sealed_at FROM waiting_batches
        WHERE lane IN (SELECT lane FROM news)
    ) AS held
    ON new.kind = held.kind AND new.lane = held.lane AND new."first" >= held."first"
    WHERE new."end" <= held."end" AND (held.reason <> 'replay' OR new."at" >= held.sealed_at - 1)
"""

TALLY: Final = """
UPDATE waiting_batches AS held SET
    tries = held.tries + tally.tries,
    delivered_events = held.delivered_events + tally.delivered,
    parked_events = held.parked_events + tally.parked,
    closed_events = held.closed_events + tally.closed,
    is_parked = held.is_parked OR tally.is_parked,
    is_discarded = held.is_discarded OR tally.is_discarded,
    tried_at = CASE WHEN tally.tries > 0 THEN tally."at" ELSE held.tried_at END,
    status = CASE WHEN tally.tries > 0 THEN tally.status ELSE held.status END,
    detail = tally.detail,
    outcome = 'retrying'
FROM (
    SELECT
        of, sum(tries)::INTEGER AS tries, sum(delivered)::BIGINT AS delivered, sum(parked)::BIGINT AS parked,
        sum(closed)::BIGINT AS closed, bool_or(final IS NOT DISTINCT FROM 'parked') AS is_parked,
        bool_or(final IS NOT DISTINCT FROM 'discarded') AS is_discarded, max("at") AS "at",
        max_by(status, "at") FILTER (tries > 0) AS status, max_by(detail, "at") AS detail
    FROM placed GROUP BY of
) AS tally
WHERE held.place = tally.of
"""

KEEP_UNPLACED: Final = """
CREATE OR REPLACE TEMP TABLE left_over AS
    SELECT * FROM news WHERE rowid NOT IN (SELECT news_row FROM placed) AND "at" >= (SELECT max("at") FROM news) - 3600;
DELETE FROM unplaced;
INSERT INTO unplaced SELECT * FROM left_over;
"""
"""What finds no batch in an hour never does: its batch has left the topic or was done before."""

SETTLE: Final = """
CREATE OR REPLACE TEMP TABLE settled AS
    SELECT place FROM waiting_batches
    WHERE greatest(closed_events, delivered_events + parked_events) >= events;
INSERT INTO batches SELECT * REPLACE (
    CASE WHEN delivered_events >= events THEN 'delivered' WHEN is_parked THEN 'parked'
    WHEN is_discarded THEN 'discarded' ELSE 'delivered' END AS outcome
) FROM waiting_batches WHERE place IN (SELECT place FROM settled);
DELETE FROM waiting_batches WHERE place IN (SELECT place FROM settled);
"""

REPLAYED: Final = """
INSERT INTO replays SELECT "partition", kind, batch, sealed_at FROM new_batches WHERE reason = 'replay';
UPDATE parked SET state = 'replayed', replayed_at = asked."at"
FROM (SELECT kind, batch, max(sealed_at) AS "at" FROM new_batches WHERE reason = 'replay' GROUP BY kind, batch) AS asked
WHERE parked.kind = asked.kind AND parked.batch = asked.batch AND parked.parked_at <= asked."at" AND parked.state = 'parked';
"""
