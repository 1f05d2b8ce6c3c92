"""Reading a delivery request as a careful receiver does."""

import re
import zlib
from typing import Final

import msgspec

from pipeline.receiver.http_server import Request
from pipeline.receiver.tally import Delivery

_SEQUENCE: Final = re.compile(r"(\S{1,80}) (\d{1,19})-(\d{1,19})")
_MOST_UNPACKED_BYTES: Final = 64 * 1024 * 1024
_GZIP_WINDOW_BITS: Final = 31


class UnacceptableError(ValueError):
    """A request that a careful receiver would not take. ``reason`` is a short word for counting."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Event(msgspec.Struct):
    uuid: str | int | None = None


class _Object(msgspec.Struct):
    """An envelope (``events`` is there) or a single event."""

    uuid: str | int | None = None
    events: list[_Event] | None = None
    batch: str | None = None


_decoder: msgspec.json.Decoder[list[_Event] | _Object] = msgspec.json.Decoder(list[_Event] | _Object)


def read_delivery(request: Request, *, verify: bool) -> Delivery:
    """What ``request`` delivers; with ``verify`` its body is read and everything about it is checked.

    Raises ``UnacceptableError``.
    """
    headers = request.headers
    webhook_id = headers.get("webhook-id", "")
    if not webhook_id:
        raise UnacceptableError("webhook-id", "there is no webhook-id header")
    found = _SEQUENCE.fullmatch(headers.get("distributary-sequence", ""))
    if found is None or int(found[2]) >= int(found[3]):
        raise UnacceptableError("sequence", "expected a header distributary-sequence: LANE FIRST-END")
    lane, first, end = found[1], int(found[2]), int(found[3])
    if not verify:
        return Delivery(webhook_id, lane, first, end, None, request.body_bytes)
    if webhook_id != f"{lane}:{first}-{end}":
        raise UnacceptableError("webhook-id", "webhook-id and distributary-sequence name different events")
    if not headers.get("webhook-timestamp", "").isdigit():
        raise UnacceptableError("timestamp", "expected a header webhook-timestamp with UNIX seconds")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnacceptableError("content-type", "expected content-type: application/json")
    events = _events_in(_unpacked(request), webhook_id)
    if len(events) != end - first:
        raise UnacceptableError("count", f"{len(events)} events came, the sequence says {end - first}")
    uuids = [None if event.uuid is None else str(event.uuid) for event in events]
    return Delivery(webhook_id, lane, first, end, uuids, request.body_bytes)


def _events_in(body: bytes, webhook_id: str) -> list[_Event]:
    try:
        content = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnacceptableError("json", f"the body cannot be read: {error}") from error
    if isinstance(content, list):
        return content
    if content.events is None:
        return [_Event(content.uuid)]
    if content.batch != webhook_id:
        raise UnacceptableError("envelope", "the envelope's batch is not the webhook-id")
    return content.events


def _unpacked(request: Request) -> bytes:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding == "identity":
        return request.body
    if encoding != "gzip":
        raise UnacceptableError("content-encoding", "expected content-encoding: gzip, or none")
    unpacking = zlib.decompressobj(wbits=_GZIP_WINDOW_BITS)
    try:
        body = unpacking.decompress(request.body, _MOST_UNPACKED_BYTES)
    except zlib.error as error:
        raise UnacceptableError("content-encoding", f"the body is not gzip: {error}") from error
    if not unpacking.eof:
        raise UnacceptableError("content-encoding", "the body is cut off, or too large when unpacked")
    return body
