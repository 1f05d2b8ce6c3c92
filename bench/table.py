"""How results are shown."""

import os
import statistics
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

console = Console(width=None if os.isatty(1) else 150)


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *notes: str) -> None:
    """Print a table, the first column to the left, and what is to be known of it."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for note in (*notes, f"{os.cpu_count()} cores for all of it, broker and receiver too; {load()}"):
        console.print(f"  {note}", style="dim", highlight=False)
    console.print()


def load() -> str:
    """How busy the machine is, the benchmark included."""
    return f"load average {os.getloadavg()[0]:.1f}"


def spread(values: Sequence[float]) -> str:
    """A median, and from where to where."""
    middle = f"{statistics.median(values):,.0f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.0f}-{max(values):,.0f})"


def megabytes(size_bytes: float) -> str:
    """A size for a table."""
    return f"{size_bytes / 1e6:,.0f}"
