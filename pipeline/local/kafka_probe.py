"""Whether a Kafka broker is ready to be used: three requests of Kafka's protocol over one plain socket.

An open port is not enough: for a while after it, the broker is not in its own metadata yet, and the group coordinator
has still to make and load its topic. A real client would do, too, but waits, retries and logs in ways that a probe
should not.
"""

import socket
import struct

from pipeline.local.ports import LOOPBACK

_METADATA, _FIND_COORDINATOR, _HEARTBEAT = 3, 10, 12
_NONE = 0
# Coordinator loading, not available, not here (any more): come back later. All else is an answer of a working one.
_COORDINATOR_NOT_READY = {14, 15, 16}
_GROUP = "distributary-readiness"
_CLIENT = "distributary-probe"


def is_kafka_ready(port: int, *, timeout_s: float) -> bool:
    """Whether the broker on loopback ``port`` is in its metadata and its group coordinator works.

    Each answer may take ``timeout_s`` seconds; a refused or lost connection is a no.
    """
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout_s) as connection:
            return _knows_itself(connection, port) and _coordinates(connection)
    except (OSError, struct.error):
        return False


def _knows_itself(connection: socket.socket, port: int) -> bool:
    answer = _ask(connection, _METADATA, 1, struct.pack(">i", 0))
    (brokers,) = struct.unpack_from(">i", answer)
    return brokers == 1 and struct.pack(">h", len(LOOPBACK)) + LOOPBACK.encode() + struct.pack(">i", port) in answer


def _coordinates(connection: socket.socket) -> bool:
    of_group = struct.pack(">b", 0)
    found = _ask(connection, _FIND_COORDINATOR, 1, _string(_GROUP) + of_group)
    (error,) = struct.unpack_from(">h", found, 4)  # after the throttle time
    if error != _NONE:
        return False
    beat = _ask(connection, _HEARTBEAT, 0, _string(_GROUP) + struct.pack(">i", 1) + _string("nobody"))
    (error,) = struct.unpack_from(">h", beat)
    return error not in _COORDINATOR_NOT_READY


def _ask(connection: socket.socket, api: int, version: int, body: bytes) -> bytes:
    request = struct.pack(">hhi", api, version, 1) + _string(_CLIENT) + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (length,) = struct.unpack(">i", _receive(connection, 4))
    return _receive(connection, length)[4:]  # after the correlation id


def _receive(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise ConnectionResetError("the broker closed the connection")
        data += part
    return data


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()
