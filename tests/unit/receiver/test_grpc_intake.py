import pytest

from pipeline.receiver.grpc_intake import Intake, place_of
from pipeline.receiver.read import UnacceptableError
from pipeline.wire.distributary.eventstream.v1.event_stream_pb2 import DeliverRequest, Event


def counted() -> Intake:
    metadata = {
        "webhook-id": "crm:0-9~3",
        "webhook-timestamp": "1700000000",
        "distributary-sequence": "crm 0-9~3",
    }
    return Intake(place_of(metadata, verify=True), verify=True)


def message(*numbers: int) -> bytes:
    return DeliverRequest(
        events=[
            Event(uuid=f"u-{number}", sequence=number, event_name="a", application_code="b", platform="c", hwid="d")
            for number in numbers
        ]
    ).SerializeToString()


def test_events_that_are_only_counted_say_their_own_numbers() -> None:
    intake = counted()
    for numbers in ((0, 4), (8,)):
        intake.take(intake.read(message(*numbers)))
    delivery = intake.delivery()
    assert (delivery.webhook_id, delivery.numbers) == ("crm:0-9~3", ((0, 1), (4, 5), (8, 9)))


@pytest.mark.parametrize(("numbers", "reason"), [((5,), "count"), ((9,), "sequence")])
def test_more_events_than_were_counted_are_refused(numbers: tuple[int, ...], reason: str) -> None:
    intake = counted()
    intake.take(intake.read(message(0, 4, 8)))
    with pytest.raises(UnacceptableError) as caught:
        intake.read(message(*numbers))
    assert caught.value.reason == reason
