"""One connection to Redis, on which scripts run one after the other.

The connection knows which run of the server it leads to, and tells each script, as its first argument. Whatever goes wrong, it is
given up and opened again for the next call: so it never leads to another run than it says.
"""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

_RUN: Final = re.compile(rb"run_id:([0-9a-zA-Z]+)")


class Script:
    """A script that Redis runs."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.digest = hashlib.sha1(self.text).hexdigest().encode()  # noqa: S324 as Redis names scripts


class RedisLine:
    """Runs ``scripts``; each call takes ``timeout_s`` at most, connecting included."""

    def __init__(self, url: str, scripts: Sequence[Script], timeout_s: float) -> None:
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
        )
        self._scripts = scripts
        self._timeout_s = timeout_s
        self._connection: AbstractConnection | None = None
        self._run = b""
        self._calling = asyncio.Lock()

    async def run(self, script: Script, prefix: bytes, arguments: Sequence[bytes]) -> Any:
        """Run a script with ``prefix`` as its key, and the server's run before ``arguments``.

        Raises ``RedisError``, ``OSError`` or ``TimeoutError``.
        """
        async with asyncio.timeout(self._timeout_s), self._calling:
            try:
                return await self._run_once(script, prefix, arguments)
            except NoScriptError:  # somebody had all scripts forgotten
                await self._drop()
                return await self._run_once(script, prefix, arguments)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._drop()

    async def _run_once(self, script: Script, prefix: bytes, arguments: Sequence[bytes]) -> Any:
        is_done = False
        try:
            connection = self._connection or await self._connect()
            await connection.send_command(b"EVALSHA", script.digest, b"1", prefix, self._run, *arguments)
            answer = await connection.read_response()
            is_done = True
            return answer
        finally:
            if not is_done:
                await self._drop()

    async def _connect(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        self._connection = connection
        await connection.connect()  # type: ignore[no-untyped-call]
        await connection.send_command(b"INFO", b"server")
        found = _RUN.search(await connection.read_response())
        if found is None:
            raise ResponseError("its INFO names no run_id")
        self._run = found[1]
        for script in self._scripts:
            await connection.send_command(b"SCRIPT", b"LOAD", script.text)
            await connection.read_response()
        return connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(RedisError, OSError):  # it was broken before
                await connection.disconnect(nowait=True)
