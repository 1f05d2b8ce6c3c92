"""The file of the index: opening, filling, letting go."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
import structlog

from pipeline.view.index import settle
from pipeline.view.index.lines import LONGEST_LINE_BYTES, Staged
from pipeline.view.index.retention import Limits, trim
from pipeline.view.index.tables import OF_PARTITIONS, SCHEMA, SCHEMA_VERSION

log = structlog.get_logger(__name__)

MEMORY_LIMIT: Final = "96MB"
"""DuckDB's cache and work space. A third of it is taken while lines are read, whatever they hold; what does not fit is spilled."""
MOST_SPILLED: Final = "4GB"

_PLACE: Final = {"place": "BIGINT", "partition": "INTEGER", "offset": "BIGINT"}
_READ: Final = {
    "attempts": {
        **_PLACE, "batch": "VARCHAR", "integration": "VARCHAR", "kind": "VARCHAR", "attempt": "INTEGER", "at": "DOUBLE",
        "events": "BIGINT", "verdict": "VARCHAR", "detail": "VARCHAR", "duration_s": "DOUBLE", "request_bytes": "BIGINT",
        "answer_bytes": "BIGINT", "status": "INTEGER", "answer_head": "VARCHAR", "next_at": "DOUBLE", "final": "VARCHAR",
        "arrived": "BIGINT", "given_up": "BIGINT",
    },
    "batches": {
        **_PLACE, "kind": "VARCHAR", "lane": "VARCHAR", "integration": "VARCHAR", "batch": "VARCHAR", "first": "BIGINT",
        "end": "BIGINT", "reason": "VARCHAR", "opened_at": "DOUBLE", "sealed_at": "DOUBLE", "events": "BIGINT", "bytes": "BIGINT",
    },
    "parked": {
        **_PLACE, "kind": "VARCHAR", "lane": "VARCHAR", "integration": "VARCHAR", "batch": "VARCHAR", "first": "BIGINT",
        "end": "BIGINT", "rest": "VARCHAR", "reason": "VARCHAR", "attempts": "INTEGER", "parked_at": "DOUBLE",
        "events": "BIGINT", "bytes": "BIGINT",
    },
    "dead_letters": {
        **_PLACE, "at": "DOUBLE", "reason": "VARCHAR", "detail": "VARCHAR", "topic": "VARCHAR", "source_partition": "INTEGER",
        "source_offset": "BIGINT", "source_at": "DOUBLE", "bytes": "BIGINT", "key": "VARCHAR", "preview": "VARCHAR",
    },
    "notices": {
        **_PLACE, "id": "VARCHAR", "cause": "VARCHAR", "at": "DOUBLE", "integration": "VARCHAR", "webhook": "VARCHAR",
        "detail": "VARCHAR", "suppressed": "BIGINT",
    },
    "inbound_requests": {
        **_PLACE, "at": "DOUBLE", "result": "VARCHAR", "reason": "VARCHAR", "webhook": "VARCHAR", "identified_by": "VARCHAR",
        "user_id": "VARCHAR", "email": "VARCHAR", "phone": "VARCHAR", "hwid": "VARCHAR", "preview": "VARCHAR", "events": "BIGINT",
        "disregarded": "BIGINT", "reasons": "VARCHAR", "is_first_part": "BOOLEAN", "status": "INTEGER", "outcome": "VARCHAR", "source": "VARCHAR",
        "call": "VARCHAR", "application": "VARCHAR", "detail": "VARCHAR", "user_key": "VARCHAR", "key": "VARCHAR",
        "address": "VARCHAR", "bytes": "BIGINT", "id": "VARCHAR",
    },
}  # fmt: skip
"""The keys of each table's lines; others are left alone."""

_RANGE: Final = "split_part(batch, ':', 2)"
_MADE: Final = {
    "attempts": f"""
        split_part(batch, ':', 1) AS lane, try_cast(split_part({_RANGE}, '-', 1) AS BIGINT) AS "first",
        try_cast(split_part(split_part({_RANGE}, '-', 2), '~', 1) AS BIGINT) AS "end",
        * REPLACE (coalesce(arrived, 0) AS arrived, coalesce(given_up, 0) AS given_up, coalesce(answer_head, '') AS answer_head)
    """,
    "batches": """
        *, greatest(0.0, sealed_at - opened_at) AS fill_s, 0 AS tries, 0 AS delivered_events, 0 AS parked_events,
        0 AS closed_events, false AS is_parked, false AS is_discarded, NULL::DOUBLE AS tried_at, NULL::INTEGER AS status,
        NULL::VARCHAR AS detail, 'waiting' AS outcome
    """,
    "parked": """
        * EXCLUDE (asked), CASE WHEN asked IS NULL THEN 'parked' ELSE 'replayed' END AS state, asked AS replayed_at
    """,
    "dead_letters": "*",
    "notices": "* REPLACE (coalesce(suppressed, 0) AS suppressed)",
    "inbound_requests": "*",
}
"""What is made of the lines."""


class Position(NamedTuple):
    """How far a topic's partition was read: the next offset, and the newest record's time in UNIX seconds."""

    next_offset: int
    as_of: float


class Index:
    """One DuckDB file, written by one thread at a time and read by any.

    A file that cannot be read is thrown away: the topics hold everything. ``folder`` is asked when the index is opened.
    """

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._find_folder = folder
        self._connection: duckdb.DuckDBPyConnection | None = None

    def open(self) -> None:
        """Open or make the file; raises ``OSError`` or ``duckdb.Error`` where the folder cannot be written."""
        self._folder = self._find_folder()
        self._path = self._folder / f"index-{SCHEMA_VERSION}.duckdb"
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.glob("index-*.duckdb*"):
            if not old.name.startswith(self._path.name):
                old.unlink(missing_ok=True)
        try:
            self._connection = self._connect()
        except duckdb.Error as error:
            log.warning("the index of attempts cannot be read and is made anew", path=str(self._path), error=str(error))
            self._throw_away()
            self._connection = self._connect()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        spill = self._folder / "spill"
        connection = duckdb.connect(
            str(self._path),
            config={
                "threads": 1,
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": str(spill),
                "max_temp_directory_size": MOST_SPILLED,
                "autoload_known_extensions": False,
                "autoinstall_known_extensions": False,
                "preserve_insertion_order": False,
            },
        )
        try:
            connection.execute(SCHEMA)
        except duckdb.Error:
            connection.close()
            raise
        return connection

    def _throw_away(self) -> None:
        for each in self._folder.glob(f"{self._path.name}*"):
            each.unlink()
        shutil.rmtree(self._folder / "spill", ignore_errors=True)

    def close(self) -> None:
        """Write what is left and close the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @property
    def is_open(self) -> bool:
        """Whether it can be read and written."""
        return self._connection is not None

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the file, for one thread; close it after use."""
        assert self._connection is not None, "the index is not open"
        return self._connection.cursor()

    def positions(self) -> dict[tuple[str, int], Position]:
        """How far each topic's partition was read."""
        with self.cursor() as cursor:
            rows = cursor.execute('SELECT topic, "partition", next_offset, as_of FROM positions').fetchall()
        return {(topic, partition): Position(next_offset, as_of) for topic, partition, next_offset, as_of in rows}

    def write(self, staged: Staged) -> None:
        """Take in what is staged, and how far that is, as one."""
        with self.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                self._write(cursor, staged)
                cursor.execute("COMMIT")
            except BaseException:  # whatever it is: half of it must not stay
                cursor.execute("ROLLBACK")
                raise

    def _write(self, cursor: duckdb.DuckDBPyConnection, staged: Staged) -> None:
        for table, lines in staged.lines.items():
            self._read_lines(cursor, table, lines)
        fresh = staged.lines.keys()
        if "batches" in fresh:
            cursor.execute("INSERT INTO waiting_batches BY NAME SELECT * FROM new_batches")
        for table in ("attempts", "parked", "dead_letters", "notices", "inbound_requests"):
            if table in fresh:
                cursor.execute(f"INSERT INTO {table} BY NAME SELECT * FROM new_{table}")
        if staged.has_replays:
            cursor.execute(settle.REPLAYED)
        if fresh & {"attempts", "batches", "parked"}:
            for table in ("attempts", "parked"):
                if table not in fresh:
                    cursor.execute(f"CREATE OR REPLACE TEMP TABLE new_{table} AS SELECT * FROM {table} LIMIT 0")
            for step in (settle.NEWS, settle.PLACE, settle.TALLY, settle.KEEP_UNPLACED, settle.SETTLE):
                cursor.execute(step)
        keys, values = [*staged.positions], [*staged.positions.values()]
        cursor.execute(
            "INSERT OR REPLACE INTO positions "
            "SELECT unnest(?::VARCHAR[]), unnest(?::INTEGER[]), unnest(?::BIGINT[]), unnest(?::DOUBLE[])",
            [[key[0] for key in keys], [key[1] for key in keys], [at[0] for at in values], [at[1] for at in values]],
        )

    def _read_lines(self, cursor: duckdb.DuckDBPyConnection, table: str, lines: list[bytes]) -> None:
        path = self._folder / f"{table}.ndjson"
        path.write_bytes(b"\n".join(lines))
        columns = ", ".join(f"'{name}': '{kind}'" for name, kind in _READ[table].items())
        source = (
            f"(SELECT * FROM read_json(?, format='newline_delimited', columns={{{columns}}}, ignore_errors=true, "
            f"maximum_object_size={LONGEST_LINE_BYTES}) WHERE place IS NOT NULL)"
        )
        if table == "parked":
            source = f"""(
                SELECT line.*, (
                    SELECT min(asked."at") FROM replays AS asked
                    WHERE asked.kind = line.kind AND asked.batch = line.batch AND asked."at" >= line.parked_at
                ) AS asked FROM {source} AS line
            )"""
        try:
            cursor.execute(
                f"CREATE OR REPLACE TEMP TABLE new_{table} AS SELECT {_MADE[table]} FROM {source}",
                [str(path)],
            )
        finally:
            path.unlink()

    def forget(self, partitions: Iterable[int]) -> None:
        """Remove all rows of these partitions, which are another worker's now."""
        with self.cursor() as cursor:
            cursor.execute("BEGIN")
            for table in OF_PARTITIONS:
                cursor.execute(f'DELETE FROM {table} WHERE "partition" IN (SELECT unnest(?))', [[*partitions]])
            cursor.execute("COMMIT")

    def trim(self, *, now: float, max_age_s: float, most_rows: int) -> int:
        """Remove what is too old or too much; gives how many rows."""
        with self.cursor() as cursor:
            return trim(cursor, Limits(now - max_age_s, most_rows))
