"""What the two local servers have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

Progress = Callable[[str], None]


class Server(Protocol):
    """One kind of local server. It does not start itself: it says how, and whether it is ready."""

    name: str  # also the name of its files in the folder
    title: str  # for people
    port_count: int
    start_deadline_s: float  # from its process' start until it must be ready
    stop_deadline_s: float  # from SIGTERM until SIGKILL

    def command(self, folder: Path, ports: tuple[int, ...], on_progress: Progress) -> list[str]:
        """Prepare ``folder`` and return the command that runs the server there in the foreground.

        Raises LocalServerError when a part is not installed or cannot be had.
        """
        ...

    def address(self, ports: tuple[int, ...]) -> str:
        """Where clients find it."""
        ...

    def is_ready(self, ports: tuple[int, ...]) -> bool:
        """Whether it answers what a client needs; asks once, and waits for an answer for a few seconds at most."""
        ...
