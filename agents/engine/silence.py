"""Tells an operator that the broker has acknowledged nothing for long."""

from collections.abc import Hashable

import structlog

log = structlog.get_logger(__name__)

FIRST_TOLD_AFTER_S = 10.0


class Silence:
    """Notes what is on its way to the broker. Times are monotonic seconds.

    Records that are not acknowledged are sent again for as long as it takes: nothing fails, so nobody else says a word.
    """

    def __init__(self) -> None:
        self._under_way: dict[Hashable, tuple[str, int, float]] = {}
        self._told_after_s = FIRST_TOLD_AFTER_S

    def sent(self, batch: Hashable, topic: str, partition: int, now_s: float) -> None:
        """A record batch was sent."""
        self._under_way[batch] = (topic, partition, now_s)

    def answered(self, batch: Hashable) -> None:
        """The broker answered."""
        self._under_way.pop(batch, None)

    def look(self, now_s: float) -> None:
        """Log a silence of 10 s, again after 20, 40 and so on, and its end."""
        topic, partition, since_s = next(iter(self._under_way.values()), ("", 0, now_s))
        silent_s = now_s - since_s
        if silent_s >= self._told_after_s:
            self._told_after_s *= 2
            log.warning(
                "the broker acknowledges nothing: this worker waits, and goes on when it does",
                topic=topic,
                partition=partition,
                silent_s=round(silent_s),
            )
        elif silent_s < FIRST_TOLD_AFTER_S < self._told_after_s:
            self._told_after_s = FIRST_TOLD_AFTER_S
            log.info("the broker acknowledges again")
