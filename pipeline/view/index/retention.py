"""What leaves the index: what is older than it keeps, and the oldest where it is too much."""

from typing import Final, NamedTuple

import duckdb

_AGES: Final = (
    ("attempts", "at"),
    ("batches", "sealed_at"),
    ("waiting_batches", "sealed_at"),
    ("parked", "parked_at"),
    ("replays", "at"),
    ("dead_letters", "at"),
    ("notices", "at"),
    ("inbound_requests", "at"),
)


class Limits(NamedTuple):
    """``oldest_at`` is UNIX seconds; ``most_rows`` is of each table."""

    oldest_at: float
    most_rows: int


def trim(connection: duckdb.DuckDBPyConnection, limits: Limits) -> int:
    """Remove what is beyond ``limits``; gives how many rows that were."""
    removed = 0.0
    for table, time in _AGES:
        oldest_at = limits.oldest_at
        rows = _number(connection, f"SELECT count(*) FROM {table}")
        if rows > limits.most_rows:
            beyond = f'SELECT "{time}" FROM {table} ORDER BY "{time}" DESC LIMIT 1 OFFSET {limits.most_rows}'
            oldest_at = max(oldest_at, _number(connection, beyond) + 1e-6)
        removed += _number(connection, f'DELETE FROM {table} WHERE "{time}" < {oldest_at!r}')
    return int(removed)


def _number(connection: duckdb.DuckDBPyConnection, statement: str) -> float:
    row = connection.execute(statement).fetchone()
    return 0 if row is None or row[0] is None else row[0]
