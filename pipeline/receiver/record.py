"""A file of what has arrived, to compare with what was sent."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pipeline.receiver.tally import Delivery

ENDED: Final = "ended"
"""Begins the line of a stream that is over."""


class Record:
    """Appends one line a delivery: the webhook id, then a tab and the uuid for each event (``-`` where it has none).

    A line is with the operating system when ``write`` returns, so it survives the death of this process. Deliveries that
    come again are written again. Where events come one by one over a stream, ``ended`` and their ids follow when it is over,
    in whatever way: until then whoever sends cannot know of all of them. Raises ``OSError`` where the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, delivery: Delivery) -> None:
        """Append ``delivery``."""
        self._append([delivery.webhook_id, *(_one_field(uuid) for uuid in delivery.uuids or ())])

    def end(self, webhook_ids: Iterable[str]) -> None:
        """Append that the stream is over that brought these."""
        self._append([ENDED, *webhook_ids])

    def _append(self, fields: Iterable[str]) -> None:
        line = ("\t".join(fields) + "\n").encode()
        written = os.write(self._file, line)
        if written != len(line):
            raise OSError(f"only {written} of {len(line)} bytes of a line could be written: is the disk full?")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _one_field(uuid: str | None) -> str:
    if uuid is None:
        return "-"
    if uuid.isprintable():
        return uuid
    return "".join(character if character.isprintable() else "?" for character in uuid)
