"""Reading a request of the email sink as a careful receiver does."""

from typing import Annotated, Final

import msgspec

from pipeline.receiver.http_server import Request
from pipeline.receiver.read_one import read_one
from pipeline.receiver.tally import Delivery

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Number = Annotated[int, msgspec.Meta(ge=0)]


class _Status(msgspec.Struct, forbid_unknown_fields=True):
    """The documented fields, and no other. Those without a default must be there; what is optional is left out, not null."""

    event_name: _Text
    message_code: str
    platform: _Text
    application_code: _Text
    hwid: str
    user_id: str
    timestamp: _Number
    message_id: _Number = 0
    campaign_id: _Number = 0
    payload: str = ""
    journey_title: str = ""
    journey_point_title: str = ""


_decoder: Final = msgspec.json.Decoder(_Status)


def read_email(request: Request) -> Delivery:
    """The one email event that ``request`` delivers, every field checked; raises ``UnacceptableError``.

    The format has no uuid, so repeats show by their sequence numbers alone.
    """
    return read_one(request, _decoder)
