"""Reading a request of the Xtremepush-style sink as a careful receiver does."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from pipeline.receiver.http_server import Request
from pipeline.receiver.read import UnacceptableError
from pipeline.receiver.read_one import read_one
from pipeline.receiver.tally import Delivery

TOLERANCE_S: Final = 300.0
"""How far the time of a signature may be from now."""

_HEADER: Final = "x-xtremepush-signature"
_SCHEME: Final = "v1"
_TIME: Final = re.compile(r"\d{1,12}")

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Number = Annotated[int, msgspec.Meta(ge=0)]
_Code = _Text | int


class _Properties(msgspec.Struct, forbid_unknown_fields=True):
    message_type: _Text
    campaign_id: _Number = 0
    profile_id: _Code = ""
    device_id: _Code = ""
    trigger_id: _Code = ""
    error_message: str = ""
    user_id: _Text = ""
    email: _Text = ""


class _Webhook(msgspec.Struct, forbid_unknown_fields=True):
    """The documented fields, and no other; what an event does not have is left out, not null."""

    event: _Text
    time: _Number
    properties: _Properties


_decoder: Final = msgspec.json.Decoder(_Webhook)


def read_xtremepush(request: Request, *, secrets: Sequence[str] = (), now_s: float) -> Delivery:
    """The one event that ``request`` delivers at ``now_s`` (UNIX seconds), every field checked.

    Where ``secrets`` are given, one of them must have signed it within the last five minutes. Raises
    ``UnacceptableError``. The format has no uuid, so repeats show by their sequence numbers alone.
    """
    if secrets:
        _verify(request, secrets, now_s)
    return read_one(request, _decoder)


def _verify(request: Request, secrets: Sequence[str], now_s: float) -> None:
    header = request.headers.get(_HEADER)
    if header is None:
        raise UnacceptableError("signature", "there is no X-Xtremepush-Signature header")
    entries = [(name.strip(), value.strip()) for name, _, value in (part.partition("=") for part in header.split(","))]
    times = [value for name, value in entries if name == "t"]
    if len(times) != 1 or not _TIME.fullmatch(times[0]):
        raise UnacceptableError("signature", "expected X-Xtremepush-Signature: t=SECONDS,v1=HEX")
    if abs(now_s - int(times[0])) > TOLERANCE_S:
        raise UnacceptableError("signature", f"it was signed more than {TOLERANCE_S:.0f} s ago, or from now")
    signed = b"%s.%s" % (times[0].encode(), request.body)
    expected = [hmac.digest(secret.encode(), signed, hashlib.sha256).hex() for secret in secrets]
    given = [value.encode("utf-8", "replace") for name, value in entries if name == _SCHEME]
    # All are compared, so that the time it takes tells nothing.
    if not sum(hmac.compare_digest(one.encode(), other) for one in expected for other in given):
        raise UnacceptableError("signature", "no v1 signature is by a secret that was agreed on")
