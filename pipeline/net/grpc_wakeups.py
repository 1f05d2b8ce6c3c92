"""Lets gRPC wake the event loop without being held up by it.

A thread of gRPC's reports each event to the loop by one byte in a socket pair, and the loop takes one byte a turn, though
it then handles all events that there are (``PollerCompletionQueue`` in gRPC's ``completion_queue.pyx.pxi``). The socket pair
holds 278 bytes. Where there are more events than turns, as on a loop that is busy with other things too, it is soon
full. The thread then waits in it for every single event, and as that thread does all of gRPC's reading and writing, streams
stand still for seconds.
"""

import asyncio
import functools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

_ALL_BYTES: Final = 1 << 16
_LEFT_BYTES: Final = 8
"""What is left for the loop to take one by one, so that none of several loops that share the socket pair goes away empty."""
_one_at_a_time: Final = threading.Lock()


@contextmanager
def drained_wakeups() -> Iterator[None]:
    """Inside, where gRPC binds itself to the running loop, it is made to take all bytes at once.

    gRPC does so when the first channel or server of a loop is made. Nothing else may be given to the loop to read inside.
    """
    loop = asyncio.get_running_loop()
    add_reader: Callable[..., None] = loop.add_reader

    def add_drained(source: Any, callback: Callable[..., Any], *arguments: Any) -> None:
        if isinstance(source, socket.socket):
            callback = functools.partial(_drain_and_call, source, callback)
        add_reader(source, callback, *arguments)

    vars(loop)["add_reader"] = add_drained
    try:
        yield
    finally:
        del vars(loop)["add_reader"]


def _drain_and_call(source: socket.socket, callback: Callable[..., Any], *arguments: Any) -> None:
    """Take all bytes but a few, of which ``callback`` takes one.

    Each byte is written after its event was queued, so the events of all that is taken here are there when ``callback`` looks.
    """
    with _one_at_a_time:
        try:
            waiting = len(source.recv(_ALL_BYTES, socket.MSG_PEEK))
            if waiting > _LEFT_BYTES:
                source.recv(waiting - _LEFT_BYTES)
        except BlockingIOError:
            return  # another loop has taken them
    callback(*arguments)
