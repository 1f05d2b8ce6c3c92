from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.ranges import numbers_in, ranges_of
from pipeline.receiver.partial import split
from pipeline.receiver.tally import Delivery


@given(st.dictionaries(st.integers(0, 30), st.sampled_from(["taken", "failed", "nameless"]), min_size=1))
def test_every_event_is_either_taken_or_named_as_failed(fates: dict[int, str]) -> None:
    numbers = sorted(fates)
    uuids = [None if fates[number] == "nameless" else f"u-{number}" for number in numbers]
    ranges = ranges_of(numbers)
    delivery = Delivery("crm:x", "crm", numbers[0], numbers[-1] + 1, uuids, 10, ranges)
    answers = iter([fates[number] == "failed" for number in numbers if fates[number] != "nameless"])
    taken, failed = split(delivery, lambda: next(answers))
    assert failed == [f"u-{number}" for number in numbers if fates[number] == "failed"]
    kept = [number for number in numbers if fates[number] != "failed"]
    assert (list(numbers_in(taken.numbers)) if taken else []) == kept
    assert (taken.uuids if taken else []) == [None if fates[number] == "nameless" else f"u-{number}" for number in kept]


def test_without_uuids_nothing_can_be_named() -> None:
    delivery = Delivery("crm:0-9", "crm", 0, 9, None, 10)
    assert split(delivery, lambda: True) == (delivery, [])


def test_without_numbers_nothing_is_taken_apart() -> None:
    delivery = Delivery("segment-1:x", "segment-1", 0, 0, ["a", "b"], 10)
    assert split(delivery, lambda: True) == (delivery, [])
