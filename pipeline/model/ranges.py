"""Parts of a lane's sequence, as ranges of numbers."""

from collections.abc import Iterable

Ranges = tuple[tuple[int, int], ...]
"""Ranges ``[first, end)``, ascending, with a gap between each two."""


def ranges_of(numbers: Iterable[int]) -> Ranges:
    """The ranges that ``numbers``, in any order and each as often as it likes, make up."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return tuple(found)


def count_of(ranges: Ranges) -> int:
    """How many numbers they hold."""
    return sum(end - first for first, end in ranges)


def without(ranges: Ranges, gone: Ranges) -> Ranges:
    """What of ``ranges`` is not in ``gone``, which is ascending too, need have no gaps, and may reach beyond them."""
    left: list[tuple[int, int]] = []
    index = 0
    for first, end in ranges:
        position = first
        while index < len(gone):
            gone_first, gone_end = gone[index]
            if gone_first >= end:
                break
            if gone_first > position:
                left.append((position, gone_first))
            position = max(position, gone_end)
            if gone_end > end:
                break  # the next range may begin in it
            index += 1
        if position < end:
            left.append((position, end))
    return tuple(left)


def numbers_in(ranges: Ranges) -> Iterable[int]:
    """Every number, ascending."""
    return (number for first, end in ranges for number in range(first, end))


def halves(ranges: Ranges) -> tuple[Ranges, Ranges]:
    """The first and the second half of at least two numbers, the first one larger where they are odd."""
    left = (count_of(ranges) + 1) // 2
    for index, (first, end) in enumerate(ranges):
        if left < end - first:
            head = (*ranges[:index], (first, first + left)) if left else ranges[:index]
            return head, ((first + left, end), *ranges[index + 1 :])
        left -= end - first
    raise ValueError("one number has no second half")
