import socket

import pytest

from pipeline.errors import LocalServerError
from pipeline.local import ports


def test_a_chosen_port_is_free_and_no_outgoing_connection_gets_it():
    port = ports.choose()
    assert ports.is_free(port)
    assert 20_000 <= port < 30_000


def test_a_port_that_is_listened_on_is_not_free():
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        assert not ports.is_free(server.getsockname()[1])


def test_excluded_ports_are_not_chosen():
    with pytest.raises(LocalServerError, match="KAFKA_BROKERS=host:port"):
        ports.choose(besides=set(range(20_000, 30_000)))
