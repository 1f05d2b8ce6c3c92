"""Reading a request that delivers one event, whatever its format."""

from typing import Any

import msgspec

from pipeline.receiver.http_server import Request
from pipeline.receiver.read import UnacceptableError, read_place, unpacked
from pipeline.receiver.tally import Delivery


def read_one(request: Request, decoder: "msgspec.json.Decoder[Any]") -> Delivery:
    """The delivery of the one event in ``request``, whose body ``decoder`` checks; raises ``UnacceptableError``."""
    place = read_place(request.headers)
    if not request.headers.get("webhook-timestamp", "").isdigit():
        raise UnacceptableError("timestamp", "expected a header webhook-timestamp with UNIX seconds")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnacceptableError("content-type", "expected content-type: application/json")
    if place.event_count != 1:
        raise UnacceptableError("count", f"each request is one event, the sequence says {place.event_count}")
    try:
        decoder.decode(unpacked(request))
    except msgspec.ValidationError as error:
        raise UnacceptableError("fields", f"the event is not as documented: {error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnacceptableError("json", f"the body cannot be read: {error}") from error
    return place.delivery([None], request.body_bytes)
