"""What Kafka owes: records of callers who have stopped waiting for it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class Owed:
    """Counts records that are not acknowledged for longer than callers wait.

    While there are any, nothing more is to be handed over for callers: it would wait behind them, in memory. That ends by
    itself when Kafka acknowledges them.
    """

    def __init__(self) -> None:
        self._records = 0

    @property
    def is_any(self) -> bool:
        """Whether there are such records."""
        return self._records > 0

    def note(self, sent: Sequence["asyncio.Future[Any]"]) -> None:
        """Nobody waits any longer for those of ``sent`` that are not done."""
        missing = [each for each in sent if not each.done()]
        if missing and not self._records:
            log.warning("kafka does not acknowledge what came in, callers are answered 503")
        self._records += len(missing)
        for each in missing:
            each.add_done_callback(self._on_acknowledged)

    def _on_acknowledged(self, _sent: Any) -> None:
        self._records -= 1
        if not self._records:
            log.info("kafka acknowledges what came in again")
