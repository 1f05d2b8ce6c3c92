"""Free loopback ports that stay free."""

import random
import socket
from collections.abc import Set as AbstractSet

from pipeline.errors import LocalServerError

LOOPBACK = "127.0.0.1"
# Below the ports that systems give to outgoing connections (32768 and up): a client that keeps knocking at a server
# which is down could else be given that very port as its own, connect to itself, and keep the server from coming back.
_LOWEST, _HIGHEST = 20_000, 29_999
_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on loopback ``port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose(*, besides: AbstractSet[int] = frozenset()) -> int:
    """A free loopback port that is not in ``besides``. Raises LocalServerError when there is none."""
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, _HIGHEST)  # noqa: S311  # only to keep two starts apart
        if port not in besides and is_free(port):
            return port
    raise LocalServerError(
        f"no free port between {_LOWEST} and {_HIGHEST} on {LOOPBACK}: free some, "
        "or set KAFKA_BROKERS=host:port and REDIS_URL=redis://host:port/0 to use other servers"
    )
