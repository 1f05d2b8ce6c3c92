"""The bodies of requests, within limits of size and time."""

import asyncio
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from pipeline.errors import UnusableBodyError

FORM: Final = "application/x-www-form-urlencoded"
MOST_BODY_BYTES: Final = 4 << 20
MOST_FIELDS: Final = 2000
BODY_S: Final = 30.0


async def read_body(request: web.Request, most_bytes: int = MOST_BODY_BYTES) -> bytes:
    """The whole body; raises ``UnusableBodyError`` where it is too large or does not come."""
    too_large = UnusableBodyError(f"the body is larger than {most_bytes >> 20} MiB", status=413)
    if (request.content_length or 0) > most_bytes:
        raise too_large
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.content.iter_any():
                found += piece
                if len(found) > most_bytes:
                    raise too_large
    except TimeoutError:
        raise UnusableBodyError(f"the body did not come within {BODY_S:.0f} s", status=408) from None
    except web.RequestPayloadError:
        raise UnusableBodyError("the body is broken") from None
    return bytes(found)


def read_form(body: bytes) -> list[tuple[str, str]]:
    """The fields of a form; raises ``UnusableBodyError``."""
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except UnicodeDecodeError:
        raise UnusableBodyError("the form is not UTF-8") from None
    except ValueError:
        raise UnusableBodyError(f"the form has more than {MOST_FIELDS} fields") from None
