"""The request of a try as its sink builds it, without sending it: to be read, and to be sent by hand.

The sink itself builds it, with a client that keeps what it is given. Secrets never get out: only headers that are known to
hold none are shown.
"""

import shlex
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from multidict import CIMultiDict

from pipeline.errors import ConfigError
from pipeline.model.batch import Batch
from pipeline.model.integration import Integration
from pipeline.net.client import ANSWER_HEAD_BYTES, Answer, Endpoint, HttpClient, NoAnswer
from pipeline.net.guard import AddressGuard
from pipeline.sinks.base import SinkContext
from pipeline.sinks.registry import SINKS

HIDDEN: Final = "***"
_SHOWN_HEADERS: Final = frozenset(
    {
        "accept", "accept-encoding", "content-type", "content-encoding", "user-agent", "webhook-id", "webhook-timestamp",
        "distributary-sequence", "distributary-purpose",
    }
)  # fmt: skip


class Request(NamedTuple):
    """One request: ``headers`` as shown, secrets hidden; ``body`` as it is sent."""

    url: str
    headers: list[tuple[str, str]]
    body: bytes

    def curl(self, body: str) -> str:
        """A command that sends it, with ``body`` in place of its own; what is hidden stands as a variable to be set."""
        lines = [f"curl {shlex.quote(self.url)}"]
        for name, value in self.headers:
            if name.lower() in {"accept-encoding", "user-agent", "content-encoding"}:
                continue
            if value == HIDDEN:
                lines.append(f'--header "{name}: ${name.upper().replace("-", "_")}"')
            else:
                lines.append(f"--header {shlex.quote(f'{name}: {value}')}")
        lines.append(f"--data-raw {shlex.quote(body)}")
        return " \\\n  ".join(lines)


class Built(NamedTuple):
    """The requests of a try, in order, or why they cannot be shown."""

    requests: list[Request]
    problem: str = ""


class _Keeping(HttpClient):
    """Takes requests and sends none."""

    def __init__(self, most: int) -> None:
        super().__init__(AddressGuard(()))
        self.kept: list[Request] = []
        self._most = most

    async def post(
        self,
        endpoint: Endpoint,
        headers: CIMultiDict[str],
        body: bytes | AsyncIterator[bytes],
        *,
        head_bytes: int = ANSWER_HEAD_BYTES,
    ) -> Answer | NoAnswer:
        """Keep the request; it counts as delivered."""
        del head_bytes
        if isinstance(body, bytes) and len(self.kept) < self._most:
            shown = [(name, value if name.lower() in _SHOWN_HEADERS else HIDDEN) for name, value in headers.items()]
            self.kept.append(Request(str(endpoint.url), shown, body))
        return Answer(200, None, b"", 0)


async def build_requests(integration: Integration, batch: Batch, *, now_s: float, most: int = 1) -> Built:
    """Build the requests of a try of ``batch`` at ``now_s``, at most so many.

    They are built with the settings of ``integration`` as they are now.
    """
    spec = next((each for each in SINKS if each.kind == integration.kind), None)
    if spec is None:
        return Built([], f"there is no sink of kind {integration.kind}")
    if integration.kind == "grpc":
        return Built([], "events go over a gRPC stream as messages of proto/distributary; there is no request to show")
    auth = getattr(integration, "auth", None)
    if getattr(auth, "type", None) == "oauth2":
        return Built([], "the request needs an access token, which is had only when it is sent")
    client = _Keeping(most)
    sink = spec.make(integration, SinkContext(client=client))
    try:
        await sink.open()
    except ConfigError as error:
        return Built([], str(error))
    try:
        await sink.send(batch, now_s=now_s)
    finally:
        await sink.close()
    return Built(client.kept, "" if client.kept else "the sink sends nothing for this batch")
