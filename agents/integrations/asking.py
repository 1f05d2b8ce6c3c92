"""What workers tell each other of changes: whoever is asked by a person asks the one that leads."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec

from pipeline.integrations.changes import Change
from pipeline.integrations.stored import AuditEntry, Stored, StoredWebhook
from pipeline.integrations.webhooks import WebhookChange

LEAD: Final = "integrations/lead"
"""Where the leader is asked."""


class Leaders(Protocol):
    """How a worker asks the one that leads; ``agents.view.peers.Peers`` is one."""

    @property
    def own_url(self) -> str: ...  # noqa: D102

    def owner_of(self, partition: int) -> str | None: ...  # noqa: D102

    async def call(self, worker_url: str, path: str, body: bytes, timeout_s: float) -> bytes: ...  # noqa: D102

    def serve(self, path: str, handler: Callable[[bytes], Awaitable[bytes]]) -> None: ...  # noqa: D102


class Asked(msgspec.Struct, frozen=True):
    """What the leader is asked to do: to apply a change, of an integration or a webhook, or to record an act that changes nothing."""

    change: Change | None = None
    actor: tuple[str, str, str] = ("", "", "")
    entry: AuditEntry | None = None
    webhook: WebhookChange | None = None


class Told(msgspec.Struct, frozen=True):
    """What the leader answers; ``is_leading`` is false where it was asked in vain, and then nothing was done."""

    is_leading: bool
    stored: Stored | None = None
    entry: AuditEntry | None = None
    revision: int = 0
    webhook: StoredWebhook | None = None


encode = msgspec.json.Encoder().encode
decode_asked = msgspec.json.Decoder(Asked).decode
decode_told = msgspec.json.Decoder(Told).decode
