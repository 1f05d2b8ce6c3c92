from pipeline.receiver.tally import Delivery, Tally


def delivery(first: int, end: int, lane: str = "crm", uuids: list[str | None] | None = None) -> Delivery:
    return Delivery(f"{lane}:{first}-{end}", lane, first, end, uuids, 100 * (end - first))


def tally_of(*deliveries: Delivery) -> Tally:
    tally = Tally()
    for number, one in enumerate(deliveries):
        tally.accept(one, now_s=1000.0 + number)
    return tally


def test_an_unbroken_sequence_misses_and_repeats_nothing() -> None:
    stats = tally_of(delivery(0, 100), delivery(100, 150), delivery(0, 7, lane="other")).stats()
    assert (stats["batches"], stats["events"], stats["unique_events"]) == (3, 157, 157)
    assert (stats["missing_events"], stats["repeated_events"], stats["duplicate_batches"]) == (0, 0, 0)
    assert (stats["bytes"], stats["first_at"], stats["last_at"]) == (15_700, 1000.0, 1002.0)
    assert list(stats["lanes"]) == ["crm", "other"]


def test_a_hole_is_counted_and_shown() -> None:
    stats = tally_of(delivery(0, 100), delivery(130, 150)).stats()
    assert stats["missing_events"] == 30
    assert stats["lanes"]["crm"]["missing"] == ["100-130"]


def test_a_hole_closes_when_the_late_batch_comes() -> None:
    stats = tally_of(delivery(0, 100), delivery(200, 300), delivery(100, 200)).stats()
    assert (stats["missing_events"], stats["lanes"]["crm"]["late_batches"]) == (0, 1)


def test_a_batch_that_comes_again_is_a_duplicate() -> None:
    stats = tally_of(delivery(0, 2, uuids=["a", "b"]), delivery(0, 2, uuids=["a", "b"])).stats()
    assert (stats["duplicate_batches"], stats["repeated_events"], stats["unique_events"]) == (1, 2, 2)
    assert (stats["unique_uuids"], stats["repeated_uuids"], stats["lanes"]["crm"]["late_batches"]) == (2, 0, 0)


def test_an_overlap_under_another_id_is_seen() -> None:
    stats = tally_of(delivery(0, 100), delivery(50, 150)).stats()
    assert (stats["duplicate_batches"], stats["repeated_events"], stats["unique_events"]) == (0, 50, 150)


def test_an_event_that_got_two_numbers_is_seen() -> None:
    stats = tally_of(delivery(0, 2, uuids=["a", "b"]), delivery(2, 4, uuids=["b", "c"])).stats()
    assert (stats["unique_uuids"], stats["repeated_uuids"], stats["repeated_events"]) == (3, 1, 0)


def test_one_event_in_two_lanes_is_no_repeat() -> None:
    stats = tally_of(delivery(0, 1, uuids=["a"]), delivery(0, 1, lane="other", uuids=["a"])).stats()
    assert (stats["unique_uuids"], stats["repeated_uuids"]) == (2, 0)


def test_events_without_a_uuid_are_counted_apart() -> None:
    stats = tally_of(delivery(0, 3, uuids=["a", None, None])).stats()
    assert (stats["events_without_uuid"], stats["unique_uuids"], stats["unique_events"]) == (2, 1, 3)


def test_a_part_counts_the_events_that_it_holds() -> None:
    part = delivery(0, 9, uuids=["a", "b", "h"])._replace(ranges=((0, 2), (7, 8)))
    stats = tally_of(part, delivery(2, 7)).stats()
    assert (stats["events"], stats["unique_events"], stats["missing_events"], stats["unique_uuids"]) == (8, 8, 0, 3)


def test_what_has_not_just_happened_is_counted_apart() -> None:
    stats = tally_of(delivery(0, 3), delivery(0, 5, lane="crm~test")._replace(purpose="test")).stats()
    assert (stats["batches"], stats["events"], list(stats["lanes"])) == (1, 3, ["crm"])
    assert list(stats["purposes"]) == ["test"]
    assert (stats["purposes"]["test"]["events"], list(stats["purposes"]["test"]["lanes"])) == (5, ["crm~test"])


def test_events_that_are_only_counted_count_once_a_batch() -> None:
    counted = Delivery("crm:0-9~4", "crm", 0, 0, None, 10, announced_count=4)
    stats = tally_of(counted, counted, delivery(20, 25)).stats()
    assert (stats["events"], stats["unique_events"], stats["duplicate_batches"]) == (13, 9, 1)
    assert (stats["lanes"]["crm"]["first"], stats["missing_events"]) == (20, 0)
