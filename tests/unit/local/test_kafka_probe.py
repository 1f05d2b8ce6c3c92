import contextlib
import socket
import struct
import threading

import pytest

from pipeline.local.kafka_probe import is_kafka_ready
from tests.support.closed_port import closed_port

METADATA, FIND_COORDINATOR, HEARTBEAT = 3, 10, 12
LOADING, NOT_AVAILABLE, UNKNOWN_MEMBER = 14, 15, 25


def metadata(port: int, brokers: int = 1) -> bytes:
    host = b"127.0.0.1"
    one = struct.pack(">ih", 1, len(host)) + host + struct.pack(">ih", port, -1)
    return struct.pack(">i", brokers) + one * brokers + struct.pack(">ii", 1, 0)


@contextlib.contextmanager
def broker(answers):
    """A socket that answers each kind of request with the bytes that ``answers(port)`` has for it; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        prepared = answers(port)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionError):
                while header := connection.recv(4):
                    request = connection.recv(struct.unpack(">i", header)[0], socket.MSG_WAITALL)
                    api, _version, correlation = struct.unpack_from(">hhi", request)
                    if api not in prepared:
                        return
                    answer = struct.pack(">i", correlation) + prepared[api]
                    for byte in struct.pack(">i", len(answer)) + answer:
                        connection.sendall(bytes([byte]))

        thread = threading.Thread(target=serve)
        thread.start()
        yield port
        thread.join(5)


def answers(found: int = 0, beat: int = UNKNOWN_MEMBER, brokers: int = 1, port_shift: int = 0):
    return lambda port: {
        METADATA: metadata(port + port_shift, brokers),
        FIND_COORDINATOR: struct.pack(">ihhihi", 0, found, -1, 1, 0, port),
        HEARTBEAT: struct.pack(">h", beat),
    }


def test_a_broker_that_answers_all_is_ready():
    with broker(answers()) as port:
        assert is_kafka_ready(port, timeout_s=5.0)


@pytest.mark.parametrize(
    "scripted",
    [
        answers(brokers=0),
        answers(port_shift=1),
        answers(found=NOT_AVAILABLE),
        answers(beat=LOADING),
        lambda port: {METADATA: metadata(port)},
        lambda _: {METADATA: b""},
    ],
    ids=["not in its metadata", "another broker", "no coordinator", "coordinator loads", "hangs up", "empty answer"],
)
def test_a_broker_that_lacks_something_is_not_ready(scripted):
    with broker(scripted) as port:
        assert not is_kafka_ready(port, timeout_s=5.0)


def test_a_closed_port_is_not_ready():
    with closed_port() as port:
        assert not is_kafka_ready(port, timeout_s=5.0)


def test_a_port_that_never_answers_is_not_ready():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert not is_kafka_ready(listener.getsockname()[1], timeout_s=0.1)
