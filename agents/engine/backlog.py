"""Fetched records that wait for their turn."""

from bisect import bisect_right
from itertools import accumulate
from typing import Any


class Backlog:
    """Fetched records of one partition, in order, and how far they are handed out."""

    __slots__ = ("position", "records")

    def __init__(self, records: list[Any]) -> None:
        self.records = records
        self.position = 0

    def cut(self, max_records: int, max_bytes: int) -> tuple[list[Any], int]:
        """Take the next records, at least one, within both bounds; gives them and their bytes."""
        start = self.position
        records = (
            self.records[start : start + max_records] if start or len(self.records) > max_records else self.records
        )
        sizes = [len(record.value or b"") + len(record.key or b"") for record in records]
        size_bytes = sum(sizes)
        if size_bytes > max_bytes:
            fitting = max(1, bisect_right(list(accumulate(sizes)), max_bytes))
            records, size_bytes = records[:fitting], sum(sizes[:fitting])
        self.position = start + len(records)
        return records, size_bytes

    def is_empty(self) -> bool:
        """Whether all of them are handed out."""
        return self.position >= len(self.records)
