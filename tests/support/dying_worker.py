"""A worker that is killed at the worst moment: when inbound events are acknowledged, and no row tells of them yet.

``python -m tests.support.dying_worker ARGUMENTS`` is ``distributary ARGUMENTS`` with that end.
"""

import os
import signal
from typing import Any

from agents.__main__ import main
from agents.engine.table import ChunkTable

_send = ChunkTable._send


def _die_before_rows_of_events(table: ChunkTable, partition: int, write: Any) -> None:
    if table.name == "inbound" and write.after:
        os.kill(os.getpid(), signal.SIGKILL)
    _send(table, partition, write)


if __name__ == "__main__":
    ChunkTable._send = _die_before_rows_of_events
    main()
