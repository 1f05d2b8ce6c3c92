"""A sink that could not be opened when it was needed, and is tried again with each batch."""

from collections.abc import Callable

from pipeline.errors import ConfigError
from pipeline.model.attempt import Outcome, Verdict
from pipeline.model.batch import Batch
from pipeline.sinks.base import Sink


class LateSink:
    """Stands in for a sink whose files are not there (yet): a try opens one made by ``make``, or fails with the reason.

    So an integration that was changed while a certificate was missing on one worker delivers as soon as that is there.
    """

    def __init__(self, make: Callable[[], Sink]) -> None:
        self._make = make
        self._sink: Sink | None = None

    async def open(self) -> None:
        """Do nothing: it is opened when there is something to send."""

    async def send(self, batch: Batch, *, now_s: float) -> Outcome:
        """Try to open, and to deliver ``batch``."""
        if self._sink is None:
            sink = self._make()
            try:
                await sink.open()
            except ConfigError as error:
                return Outcome(Verdict.RETRY, f"cannot be opened: {error}", is_unanswered=True)
            if self._sink is None:
                self._sink = sink
            else:  # another try was quicker
                await sink.close()
        return await self._sink.send(batch, now_s=now_s)

    async def close(self) -> None:
        """Let go of what was opened."""
        if self._sink is not None:
            await self._sink.close()
            self._sink = None
