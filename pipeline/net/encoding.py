"""Answers that come packed, although none is asked for."""

import zlib
from dataclasses import replace
from typing import Final

from pipeline.net.client import ANSWER_READ_BYTES, Answer

_GZIP: Final = frozenset({"gzip", "x-gzip"})
_GZIP_WINDOW_BITS: Final = 31


def unpacked(answer: Answer) -> Answer:
    """``answer`` with its head unpacked, if that is gzip: at most 64 KiB of it, however much more it would become.

    ``content_encoding`` is then ``None``. It stays where there is no body, where the bytes are not what it says, and for
    every other encoding. ``body_bytes`` is what travelled.
    """
    if (answer.content_encoding or "").strip().lower() not in _GZIP or not answer.head:
        return answer
    unpacking = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        head = unpacking.decompress(answer.head, ANSWER_READ_BYTES)
    except zlib.error:
        return answer
    return replace(answer, head=head, content_encoding=None, is_whole=answer.is_whole and unpacking.eof)
