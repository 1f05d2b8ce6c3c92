"""How a stream ended, and what that means for the events that were not settled on it.

Statuses mean what they mean for the HTTP sink, by the HTTP status that each stands for: what would be a final 4xx is
final, all else may pass. The contract has every event sent again that was not answered with ``Success``, so whatever is
not listed as final is tried again.
"""

import math
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import grpc

from pipeline.model.attempt import Hint, Verdict
from pipeline.net.retry_after import LONGEST_RETRY_AFTER_S, retry_after_s

_FINAL: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)
_HINTS: Final = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: Hint.THROTTLED,
    grpc.StatusCode.UNAUTHENTICATED: Hint.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: Hint.UNAUTHORIZED,
}
_QUOTED_CHARS: Final = 200
_MS_PER_S: Final = 1000
_NOT_CONNECTED: Final = re.compile(
    r"failed to connect to all addresses; last error: \w+: (?:ipv[46]:\S+: )?(.*)", re.DOTALL
)
_REFUSED_CONNECTION: Final = "Connection refused"
# gRPC's servers say so with RESOURCE_EXHAUSTED, each in its own words: C, Python, Go; Java; .NET.
_TOO_LARGE: Final = re.compile(
    r"larger than max(?: \(\d+ vs\.? (?P<limit>\d{1,12})\))?"
    r"|exceeds (?:the )?maximum (?:configured message )?size(?: (?P<java_limit>\d{1,12})(?!\d))?",
    re.IGNORECASE,
)

# What gRPC itself puts before the words where it is this side that refused an answer for its size.
_OURS: Final = re.compile(r"\bCLIENT:")


class Ending(NamedTuple):
    """The end of a stream.

    ``verdict`` is that of the events that were neither answered with a final status nor given up; ``detail`` is one line for
    people and ``words`` what the endpoint said, both unmasked; ``status`` is gRPC's number; ``message_limit_bytes`` the
    largest message that the endpoint takes, where it refused one for its size. ``is_silence`` says that it was not the endpoint
    that ended the stream: there was no connection, or time was up.
    """

    verdict: Verdict
    detail: str
    words: str = ""
    status: int | None = None
    retry_after_s: float | None = None
    hint: Hint | None = None
    message_limit_bytes: int | None = None
    is_silence: bool = False

    @property
    def is_orderly(self) -> bool:
        """Whether the endpoint ended the stream with OK."""
        return self.status == 0

    @property
    def is_line_suspect(self) -> bool:
        """Whether the connection may be what failed."""
        return self.status == grpc.StatusCode.UNAVAILABLE.value[0]


LEFT_OPEN: Final = Ending(Verdict.RETRY, "the endpoint answered every event but left the stream open", status=0)
GARBAGE: Final = Ending(Verdict.RETRY, "the endpoint answered garbage: a message that is no DeliverResponse")
UNFINISHED: Final = Ending(Verdict.RETRY, "the stream was not ended")


def ending_of(
    code: grpc.StatusCode,
    words: str,
    trailing: Mapping[str, str | bytes],
    *,
    place: str,
    now_s: float,
) -> Ending:
    """What the final status ``code`` of a stream to ``place`` (``host:port``) means.

    ``trailing`` is the metadata that came with it, ``now_s`` UNIX seconds.
    """
    if code is grpc.StatusCode.OK:
        return Ending(Verdict.RETRY, "the endpoint ended the stream", status=0)
    verdict = Verdict.REFUSED if code in _FINAL else Verdict.RETRY
    hint = _HINTS.get(code)
    limit = None
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and not _OURS.search(words):
        found = _TOO_LARGE.search(words)
        if found is not None:
            limit = int(found["limit"] or found["java_limit"] or 0) or None
            # Once the limit is known the next try keeps to it; where it is not, only smaller parts can help.
            verdict, hint = (Verdict.RETRY, None) if limit else (Verdict.REFUSED, Hint.TOO_LARGE)
    return Ending(
        verdict,
        _described(code, words, place),
        words=words,
        status=code.value[0],
        retry_after_s=pause_s(trailing, now_s=now_s) if verdict is Verdict.RETRY else None,
        hint=hint,
        message_limit_bytes=limit,
        is_silence=code is grpc.StatusCode.UNAVAILABLE and _NOT_CONNECTED.match(words) is not None,
    )


def pause_s(trailing: Mapping[str, str | bytes], *, now_s: float) -> float | None:
    """The pause that an endpoint asks for, in seconds: ``grpc-retry-pushback-ms``, or ``retry-after`` as in HTTP.

    Values that cannot be read, and pauses below zero, are ignored.
    """
    pushback, after = trailing.get("grpc-retry-pushback-ms"), trailing.get("retry-after")
    if isinstance(pushback, str):
        try:
            milliseconds = float(pushback)
        except ValueError:
            milliseconds = math.nan
        if milliseconds >= 0:
            return min(milliseconds / _MS_PER_S, LONGEST_RETRY_AFTER_S)
    return retry_after_s(after, now_s=now_s) if isinstance(after, str) else None


def _described(code: grpc.StatusCode, words: str, place: str) -> str:
    line = one_line(words)
    if code is grpc.StatusCode.UNAVAILABLE and (found := _NOT_CONNECTED.match(words)):
        if _REFUSED_CONNECTION in found[1]:
            return f"connection refused by {place}"
        return f"no connection to {place}: {one_line(found[1])}"
    return f"the stream ended with {code.name}: {line}" if line else f"the stream ended with {code.name}"


def one_line(text: str) -> str:
    """``text`` as one line of bounded length."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= _QUOTED_CHARS else line[: _QUOTED_CHARS - 1] + "…"
