"""Which numbers of a sequence have been seen, as ranges."""

from bisect import bisect_left, bisect_right


class SeenRanges:
    """A set of numbers that is kept as the ranges ``[first, end)`` it consists of."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._ends: list[int] = []

    def add(self, first: int, end: int) -> int:
        """Add ``[first, end)``; returns how many of these numbers were there already."""
        if not self._firsts or first > self._ends[-1]:
            self._firsts.append(first)
            self._ends.append(end)
            return 0
        if first == self._ends[-1]:
            self._ends[-1] = end
            return 0
        # All ranges that touch or overlap [first, end) become one with it.
        low = bisect_left(self._ends, first)
        high = bisect_right(self._firsts, end)
        repeated = sum(
            max(0, min(end, self._ends[index]) - max(first, self._firsts[index])) for index in range(low, high)
        )
        merged_first = min([first, *self._firsts[low : low + 1]]) if low < high else first
        merged_end = max([end, *self._ends[high - 1 : high]]) if low < high else end
        self._firsts[low:high] = [merged_first]
        self._ends[low:high] = [merged_end]
        return repeated

    def count(self) -> int:
        """Return how many numbers have been seen."""
        return sum(self._ends) - sum(self._firsts)

    def holes(self) -> list[tuple[int, int]]:
        """The ranges that are missing between the first and the last number seen."""
        return list(zip(self._ends[:-1], self._firsts[1:], strict=True))

    def first(self) -> int | None:
        """The lowest number seen."""
        return self._firsts[0] if self._firsts else None

    def end(self) -> int | None:
        """The number after the highest one seen."""
        return self._ends[-1] if self._ends else None
