"""Lets of the libraries' lines through what an operator needs, and says repeated complaints once."""

import logging
import re
import time
from collections.abc import Callable

LIBRARIES = frozenset({"aiohttp", "aiokafka", "asyncio", "faust", "mode"})

# What stays of the libraries' progress reports: group membership, recovery, signals. All else tells of their insides.
_KEPT = re.compile(
    r"(?:\[\^[^\]]*\]: )?(?:"
    r"Joined group|LeaveGroup|Recovery complete|Restoring state from changelog|Still fetching changelog|"
    r"Signal received|Topic \S+ created|We experienced a crash"
    r")"
)

# Complaints about what the engine looks after itself: a topic that was made a moment ago, which it waits for.
_LOOKED_AFTER = re.compile(r"Topic %s not found in cluster metadata")

REPEAT_PAUSE_S = 10.0
_MAX_REMEMBERED = 1000


class Quiet(logging.Filter):
    """Passes the project's own lines; of the libraries' below WARNING only progress, of the rest each once in a while.

    A broker that is away makes every connection complain ten times a second: the first complaint is logged at once, the
    next of its kind ``pause_s`` seconds later with the number that were left out. With ``is_detailed`` (level debug)
    everything passes.
    """

    def __init__(
        self,
        *,
        is_detailed: bool = False,
        pause_s: float = REPEAT_PAUSE_S,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._is_detailed = is_detailed
        self._pause_s = pause_s
        self._monotonic_s = monotonic_s
        self._last: dict[tuple[str, int, object], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if self._is_detailed or not _is_of_a_library(record):
            return True
        if isinstance(record.msg, str) and _LOOKED_AFTER.match(record.msg):
            return False
        if record.levelno < logging.WARNING:
            return isinstance(record.msg, str) and _KEPT.match(record.msg) is not None
        return self._is_news(record)

    def _is_news(self, record: logging.LogRecord) -> bool:
        kind, now_s = (record.name, record.levelno, record.msg), self._monotonic_s()
        logged_s, left_out = self._last.get(kind, (None, 0))
        if logged_s is not None and now_s - logged_s < self._pause_s:
            self._last[kind] = (logged_s, left_out + 1)
            return False
        if len(self._last) >= _MAX_REMEMBERED:
            self._last.clear()
        self._last[kind] = (now_s, 0)
        if left_out:
            record.left_out = left_out
        return True


def _is_of_a_library(record: logging.LogRecord) -> bool:
    """Whether a library wrote the line, be it in the name of a class of ours: mode's services begin with ``[^``."""
    if record.name.partition(".")[0] in LIBRARIES:
        return True
    return isinstance(record.msg, str) and record.msg.startswith(("[^", "opening partition", "closing db"))
