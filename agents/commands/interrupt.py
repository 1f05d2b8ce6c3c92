"""Ctrl-C as a wish: what is under way is finished, the rest is left."""

import asyncio
import contextlib
import signal
from types import TracebackType
from typing import Self

_SIGNALLED = 128


class Interrupt:
    """Watches for SIGINT and SIGTERM for the length of a ``with`` in a coroutine. A second one ends the process as usual."""

    def __init__(self) -> None:
        self._came = asyncio.Event()
        self._number = 0

    @property
    def is_set(self) -> bool:
        """Whether somebody wants to stop."""
        return self._came.is_set()

    @property
    def exit_status(self) -> int:
        """What a process that was stopped so ends with."""
        return _SIGNALLED + self._number

    async def pause(self, pause_s: float) -> None:
        """Wait, but no longer than until somebody wants to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._came.wait(), pause_s)

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stop, number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def _stop(self, number: int) -> None:
        self._number = number
        self._came.set()
        self._give_back()

    def _give_back(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
