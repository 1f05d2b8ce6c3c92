"""Server-sent events: what a page that is open is told while it is open."""

from typing import Any, Final, NamedTuple

from pipeline.view.formats.json import encoded

CONTENT_TYPE: Final = "text/event-stream"
HEARTBEAT: Final = b": \n\n"
HEARTBEAT_S: Final = 15.0
RETRY: Final = b"retry: 3000\n\n"


class Told(NamedTuple):
    """One event: ``name`` chooses the listener, ``data`` becomes JSON (text is sent as it is), ``id`` is where to go on."""

    data: Any
    name: str = "message"
    id: str = ""


def told(event: Told) -> bytes:
    """An event as it goes over the wire; no content can end it early."""
    text = event.data.encode("utf-8", "backslashreplace") if isinstance(event.data, str) else encoded(event.data)
    lines = [b"event: " + _word(event.name)]
    if event.id:
        lines.append(b"id: " + _word(event.id))
    lines += [b"data: " + line for line in text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")]
    return b"\n".join(lines) + b"\n\n"


def _word(text: str) -> bytes:
    return "".join(text.replace("\0", "").splitlines()).encode("utf-8", "backslashreplace")
