"""How much a query may use, and how much of the tables it sees."""

from typing import Final

import msgspec

_MIB: Final = 1 << 20  # not that of pipeline.model.units: pydantic would double what a process takes to start
LONGEST_QUERY: Final = 20_000
"""Characters. What is longer was not written by a person, and fits into no link."""
MOST_COLUMNS: Final = 500


class SqlLimits(msgspec.Struct, frozen=True):
    """The bounds of one query.

    ``time_s`` is for the query itself, ``load_s`` for gathering the tables before it. ``table_rows`` is how much of each table is
    loaded: the first in the table's own order, which for all that happens over time are the newest. ``page_bytes`` bounds
    what a page shows, whatever its rows.
    """

    time_s: float = 10.0
    load_s: float = 30.0
    memory_bytes: int = 256 * _MIB
    page_rows: int = 10_000
    page_bytes: int = 8 * _MIB
    export_rows: int = 1_000_000
    export_bytes: int = 1024 * _MIB
    table_rows: int = 1_000_000
    at_once: int = 2
    wait_s: float = 5.0
    kept_s: float = 15.0

    @property
    def address_space_bytes(self) -> int:
        """The second fence: what the process may map at all. The interpreter and DuckDB alone take some 700 MiB of addresses."""
        return 1024 * _MIB + 2 * self.memory_bytes
