"""Reads request bodies: never more than permitted, never for longer than a caller should need."""

import asyncio
import zlib
from typing import Final

from aiohttp import StreamReader, web

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.payload import Refused

BODY_WITHIN_S: Final = 10.0
"""How long a body may take to arrive."""
SOON_S: Final = 0.1
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_WINDOW_BITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}


async def read_soon(request: web.BaseRequest, max_bytes: int) -> bytes:
    """The body, as it came, of a request that is refused, where it is small and comes with the head or right after it.

    Empty otherwise: nobody needs it, but people who look for the reason like to see it, and the connection can go on.
    """
    content = request.content
    if content.exception() is not None:
        return b""
    if content.is_eof():
        return content.read_nowait(-1)
    if not 0 < (request.content_length or 0) <= max_bytes or "Expect" in request.headers:
        return b""
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(SOON_S):
            while part := await content.readany():
                parts.append(part)
    except (TimeoutError, web.RequestPayloadError):
        return b""
    return b"".join(parts)


async def read_body(request: web.BaseRequest, max_bytes: int, within_s: float = BODY_WITHIN_S) -> bytes:
    """The body, decoded where it is compressed.

    Raises ``Refused`` where it is, or becomes, larger than ``max_bytes``, does not arrive whole in ``within_s`` seconds, or
    is not in the encoding that its headers name. What is too large is not read to its end.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in _WINDOW_BITS and encoding not in ("identity", ""):
        raise Refused(Outcome.UNREADABLE_BODY, "Content-Encoding may be gzip, deflate or identity")
    content = request.content
    if content.is_eof() and content.exception() is None:
        raw = content.read_nowait(-1)  # it came with the headers, as most do
        if len(raw) > max_bytes:
            raise _too_large(max_bytes)
    else:
        raw = await _read_slowly(request, content, max_bytes, within_s)
    return _inflated(raw, _WINDOW_BITS[encoding], max_bytes) if encoding in _WINDOW_BITS else raw


async def _read_slowly(request: web.BaseRequest, content: StreamReader, max_bytes: int, within_s: float) -> bytes:
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(_CONTINUE)  # type: ignore[attr-defined]  # the caller waits for it before it sends
        request.writer.output_size = 0  # or the answer itself would be taken for sent
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(within_s):
            while part := await content.readany():
                size += len(part)
                if size > max_bytes:
                    raise _too_large(max_bytes)
                parts.append(part)
    except TimeoutError:
        raise Refused(Outcome.UNREADABLE_BODY, f"it did not arrive within {within_s:g} s") from None
    except web.RequestPayloadError as error:
        raise Refused(Outcome.UNREADABLE_BODY, "its chunks or its length are wrong") from error
    return b"".join(parts)


def _inflated(raw: bytes, window_bits: int, max_bytes: int) -> bytes:
    """``raw`` decompressed, at most one byte more than permitted of it."""
    inflating = zlib.decompressobj(window_bits)
    try:
        body = inflating.decompress(raw, max_bytes + 1)
    except zlib.error:
        raise Refused(Outcome.UNREADABLE_BODY, "it is not compressed as Content-Encoding says") from None
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    if not inflating.eof or inflating.unused_data:
        raise Refused(Outcome.UNREADABLE_BODY, "the compressed body is not whole")
    return body


def _too_large(max_bytes: int) -> Refused:
    return Refused(Outcome.TOO_LARGE, f"at most {max_bytes} bytes are taken")
