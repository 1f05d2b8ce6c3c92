"""Reads what an endpoint answered as JSON."""

import codecs
from typing import Any, Final

import msgspec

NO_JSON: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for bytes that are no JSON, or none that it takes."""


def json_of(body: bytes) -> Any:
    """Decode a body, also behind a byte order mark; raises one of ``NO_JSON``."""
    return msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8))
