from pipeline.sinks.http_single import DeliveredEvents


def test_it_remembers_until_told_to_forget() -> None:
    memory = DeliveredEvents()
    memory.of("crm:0-5").add(3)
    assert memory.of("crm:0-5") == {3}
    memory.forget("crm:0-5")
    assert memory.of("crm:0-5") == set()


def test_it_keeps_no_more_than_the_newest_batches() -> None:
    memory = DeliveredEvents(most_batches=2)
    memory.of("a:0-1").add(0)
    memory.of("b:0-1").add(0)
    memory.of("a:0-1")
    memory.of("c:0-1").add(0)
    assert memory.of("a:0-1") == {0}
    assert memory.of("b:0-1") == set()
