"""Ranges that take down each time somebody looks at one of them, to tell how the work grows with their number."""

from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.model.ranges import Ranges

looks: list[object] = []
"""What was looked at since it was last cleared."""


class _Watched(tuple[int, int]):
    __slots__ = ()

    def __iter__(self) -> Iterator[int]:
        looks.append(None)
        return super().__iter__()

    def __getitem__(self, index: Any) -> Any:
        looks.append(None)
        return super().__getitem__(index)


def watched(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """``ranges``, watched."""
    return tuple(_Watched(each) for each in ranges)
