"""How much a query of the SQL page may use."""

from typing import Annotated

from pydantic import Field

from pipeline.model.integration import Count
from pipeline.model.section import Section
from pipeline.model.units import GIB, MIB, Duration, Size
from pipeline.view.sql.limits import SqlLimits


class SqlSettings(Section):
    """The page `/sql`: queries over all workers' tables, each in a process of its own."""

    is_enabled: bool = Field(True, alias="enabled", description="Whether `/sql` answers queries.")
    time_limit_s: Annotated[float, Duration(1.0, 600.0)] = Field(
        10.0, alias="time_limit", description="After this long a query is stopped; gathering its tables comes before."
    )
    memory_bytes: Annotated[int, Size(64 * MIB, 64 * GIB)] = Field(
        256 * MIB,
        alias="memory",
        description="How much memory a query may take. Beyond it, sorting and joining use the disk.",
    )
    at_once: Count = Field(
        2,
        ge=1,
        le=64,
        description="How many queries a worker runs at once. More wait for 5 s, and are asked to come back.",
    )
    table_rows: Count = Field(
        200_000,
        ge=1000,
        le=100_000_000,
        description="How many rows of each table a query sees at most, of what happens over time the newest; an answer over a "
        "table that was cut says so. Gathering takes about 10 s of the workers' time a million rows.",
    )
    page_rows: Count = Field(10_000, ge=1, le=100_000, description="How many rows a page and its JSON hold at most.")
    export_rows: Count = Field(
        1_000_000, ge=1, le=100_000_000, description="How many rows CSV and Parquet hold at most."
    )

    def limits(self) -> SqlLimits:
        """The same for the processes."""
        return SqlLimits(
            time_s=self.time_limit_s,
            memory_bytes=self.memory_bytes,
            at_once=self.at_once,
            table_rows=self.table_rows,
            page_rows=self.page_rows,
            export_rows=self.export_rows,
        )
