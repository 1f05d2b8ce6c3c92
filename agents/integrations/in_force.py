"""The integrations and webhooks that are in force on a worker, and how people change them."""

import asyncio
from typing import Final

from aiokafka import TopicPartition

from agents.engine import ChunkApp
from agents.integrations.asking import LEAD, Asked, Leaders, Told, decode_told, encode
from agents.integrations.follower import Follower, OnChange, PutToWork
from agents.integrations.leader import PARTITION, WRITTEN_WITHIN_S, Leader
from agents.topology import Topology
from pipeline.clock import Clock
from pipeline.config.schema import Settings
from pipeline.errors import UnavailableError
from pipeline.integrations.audit import Actor
from pipeline.integrations.changes import Change
from pipeline.integrations.kept import Kept
from pipeline.integrations.snapshot import Snapshot
from pipeline.integrations.stored import AuditEntry, Stored, StoredWebhook
from pipeline.integrations.webhooks import WebhookChange
from pipeline.net.client import HttpClient

LEADER_WITHIN_S: Final = 10.0
APPLIED_WITHIN_S: Final = 5.0
RETRY_PAUSE_S: Final = 0.2


class Integrations:
    """The integrations and webhooks in force on this worker, and how they are changed.

    ``snapshot`` is what every stage goes by now. ``open`` reads what is stored before any chunk is handed out.
    """

    def __init__(
        self, app: ChunkApp, topology: Topology, settings: Settings, *, brokers: str, clock: Clock, client: HttpClient
    ) -> None:
        self._settings = settings
        self._clock = clock
        tp = TopicPartition(topology.names.integrations_changelog, PARTITION)
        self._follower = Follower(app, tp, Kept.of_file(settings), brokers=brokers)
        self._leader = Leader(app, topology.integrations, self._follower, settings, clock=clock, client=client)
        self._peers: Leaders | None = None

    def ask_by(self, peers: Leaders) -> None:
        """Reach the leader through ``peers``, and answer there when this worker leads; before the worker starts."""
        self._peers = peers
        peers.serve(LEAD, self._leader.answer)

    def on_change(self, callback: OnChange) -> None:
        """Have ``callback`` called after each change, of integrations or webhooks, that has taken effect here."""
        self._follower.on_change(callback)

    @property
    def snapshot(self) -> Snapshot:
        """What is in force now."""
        return self._follower.snapshot

    @property
    def in_file(self) -> int:
        """How many integrations ``faust.yml`` names."""
        return len(self._settings.integrations)

    async def open(self, put_to_work: PutToWork) -> None:
        """Read the changelog to its end, put to work what is in force, and follow from then on; the topic exists."""
        await self._follower.open(put_to_work)

    async def close(self) -> None:
        """Follow and decide no longer."""
        await self._leader.close()
        await self._follower.close()

    async def caught_up(self) -> None:
        """Wait until all that stands in the changelog now is put to work here.

        For whoever meets an integration or a webhook that is not known: another worker may have heard of it earlier.
        """
        await self._follower.caught_up()

    def audit(self) -> list[AuditEntry]:
        """The audit log, the newest entry first."""
        return self._follower.kept.audit()

    async def apply(self, change: Change, actor: Actor) -> Stored:
        """Have the leader apply ``change``, and wait until it has taken effect on this worker.

        Returns what is stored then; a deleted integration as it was, under the revision of its deletion. Raises what
        :func:`pipeline.integrations.changes.decide` raises, and ``UnavailableError`` where nobody leads just now, or where it
        is not known what became of the change: the message says which.
        """
        told = await self._ask(Asked(change=change, actor=tuple(actor)))
        assert told.stored is not None
        await self._applied(told.revision)
        return told.stored

    async def apply_webhook(self, change: WebhookChange, actor: Actor) -> StoredWebhook:
        """Have the leader apply ``change``, and wait until it has taken effect on this worker.

        Returns what is stored then, with its secret in plain text: to be shown once, after ``create`` and ``rotate``. Raises
        what :func:`pipeline.integrations.webhooks.decide_webhook` raises, and ``UnavailableError`` as :meth:`apply` does.
        """
        told = await self._ask(Asked(webhook=change, actor=tuple(actor)))
        assert told.webhook is not None
        await self._applied(told.revision)
        return told.webhook

    async def record(self, entry: AuditEntry) -> AuditEntry:
        """Have the leader write an act that changes no integration into the audit log; returns it with its revision."""
        told = await self._ask(Asked(entry=entry))
        assert told.entry is not None
        await self._applied(told.revision)
        return told.entry

    async def _applied(self, revision: int) -> None:
        try:
            async with asyncio.timeout(APPLIED_WITHIN_S):
                await self._follower.until(lambda: self.snapshot.revision >= revision)
        except TimeoutError:
            raise UnavailableError(
                f"the change is stored, as revision {revision}, but has not taken effect on this worker within "
                f"{APPLIED_WITHIN_S:g} s; do not repeat it"
            ) from None

    async def _ask(self, asked: Asked) -> Told:
        deadline_s = self._clock.monotonic_s() + LEADER_WITHIN_S
        while True:
            told = await self._ask_once(asked)
            if told.is_leading:
                return told
            if self._clock.monotonic_s() > deadline_s:
                raise UnavailableError(
                    "no worker keeps the integrations just now, so nothing was changed: partitions are being assigned, or a "
                    "worker is recovering; try again in a moment"
                )
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _ask_once(self, asked: Asked) -> Told:
        if self._leader.claim is not None:
            return await self._leader.lead(asked)
        url = self._peers.owner_of(PARTITION) if self._peers is not None else None
        if self._peers is None or url is None or url == self._peers.own_url:
            return Told(is_leading=False)
        answer = await self._peers.call(url, LEAD, encode(asked), LEADER_WITHIN_S + WRITTEN_WITHIN_S)
        return decode_told(answer)
