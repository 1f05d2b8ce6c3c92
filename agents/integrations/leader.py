"""Decides on changes, where this worker owns the partition of table ``integrations``: one after the other, under its claim."""

import asyncio
from typing import Any, Final

from agents.engine import ChunkApp, ChunkTable, RowGroup
from agents.integrations.asking import Asked, Told, decode_asked, encode
from agents.integrations.follower import Follower
from pipeline.cancelling import cancelled
from pipeline.clock import Clock
from pipeline.config.schema import Settings
from pipeline.errors import ConfigError, InvalidChangeError, UnavailableError
from pipeline.inbound.secrets import new_secret
from pipeline.integrations.audit import Actor
from pipeline.integrations.changes import Change, decide, missing_kinds, recorded
from pipeline.integrations.reading import read_integration
from pipeline.integrations.stored import AuditEntry, Stored
from pipeline.integrations.webhooks import WebhookChange, decide_webhook
from pipeline.net.client import HttpClient
from pipeline.sinks.readiness import require_ready

PARTITION: Final = 0
"""The partition of table ``integrations`` that is used; whoever owns it leads."""

WRITTEN_WITHIN_S: Final = 10.0
READ_WITHIN_S: Final = 5.0


class Leader:
    """Each decision stands on what was read back of the one before it."""

    def __init__(
        self,
        app: ChunkApp,
        table: ChunkTable,
        follower: Follower,
        settings: Settings,
        *,
        clock: Clock,
        client: HttpClient,
    ) -> None:
        self._app = app
        self._table = table
        self._follower = follower
        self._kept = follower.kept
        self._settings = settings
        self._clock = clock
        self._client = client
        self._tasks: set[asyncio.Task[Any]] = set()
        self._deciding = asyncio.Lock()
        self._is_giving_back = False
        self._kinds_told_under: bytes | None = None
        self._written: tuple[bytes | None, int] = (None, 0)
        """The claim and the revision of the last decision."""
        follower.before_reading(self._tell_kinds)
        app.before_release(self._give_back)
        app.on_partitions_assigned.connect(self._on_assigned)

    async def answer(self, body: bytes) -> bytes:
        """Answer another worker; raises what :meth:`lead` raises."""
        return encode(await self.lead(decode_asked(body)))

    @property
    def claim(self) -> bytes | None:
        """The claim under which this worker leads; ``None`` where it does not."""
        app = self._app
        if self._is_giving_back or app.should_stop or app.rebalancing or not app.tables.actives_ready:
            return None
        return self._table.claim_of(PARTITION)

    async def lead(self, asked: Asked) -> Told:
        """Decide, write, and wait until the decision is read back, also where whoever asked goes away meanwhile.

        Raises what ``decide`` and ``decide_webhook`` raise, and ``UnavailableError`` where Kafka does not take it in time.
        """
        task = asyncio.get_running_loop().create_task(self._lead(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Decide no more."""
        await cancelled(self._tasks)

    async def _lead(self, asked: Asked) -> Told:
        async with self._deciding:
            if not await self._knows_all():
                return Told(is_leading=False)
            actor = Actor(*asked.actor)
            if asked.entry is not None:
                return await self._record(asked.entry)
            if asked.webhook is not None:
                return await self._decide_webhook(asked.webhook, actor)
            assert asked.change is not None
            return await self._decide(asked.change, actor)

    async def _record(self, entry: AuditEntry) -> Told:
        rows, entry = recorded(entry, self._kept)
        await self._write([rows], entry.revision)
        return Told(is_leading=True, entry=entry, revision=entry.revision)

    async def _decide(self, change: Change, actor: Actor) -> Told:
        decided = decide(change, self._kept, self._settings, now_s=self._clock.wall_s(), actor=actor)
        if decided.rows:
            if change.action != "delete":
                await self._require_ready(decided.stored)
            await self._write([decided.rows], decided.stored.revision)
        return Told(is_leading=True, stored=decided.stored, revision=decided.stored.revision)

    async def _decide_webhook(self, change: WebhookChange, actor: Actor) -> Told:
        decided = decide_webhook(change, self._kept, now_s=self._clock.wall_s(), actor=actor, new_secret=new_secret)
        if decided.rows:
            await self._write([decided.rows], decided.stored.revision)
        return Told(is_leading=True, webhook=decided.stored, revision=decided.stored.revision)

    async def _require_ready(self, stored: Stored) -> None:
        """Raise ``InvalidChangeError`` where the files that the integration names cannot be used on this worker."""
        try:
            await require_ready([read_integration(stored.settings, self._settings.outbound)], self._client)
        except ConfigError as error:
            key = "tls" if "tls" in stored.settings else ""
            raise InvalidChangeError([(key, problem) for problem in error.problems]) from error

    async def _knows_all(self) -> bool:
        """Whether this worker leads, and has read all that those before it have written."""
        claim = self.claim
        if claim is None:
            return False

        def has_read() -> bool:
            of_claim, revision = self._written
            return self._follower.claim == claim and (of_claim != claim or self._kept.revision >= revision)

        try:
            async with asyncio.timeout(READ_WITHIN_S):
                await self._follower.until(has_read)
        except TimeoutError:
            return False
        return self.claim == claim

    async def _write(self, groups: list[RowGroup], revision: int) -> None:
        """Write, and wait until ``revision`` is read back."""
        self._written = (self.claim, revision)
        try:
            async with asyncio.timeout(WRITTEN_WITHIN_S):
                await asyncio.shield(self._table.write(PARTITION, groups))
                await self._follower.until(lambda: self._kept.revision >= revision)
        except TimeoutError:
            raise UnavailableError(
                f"Kafka did not take the change within {WRITTEN_WITHIN_S:g} s, and it is not known whether it will: look at "
                "what there is now before you repeat it"
            ) from None

    def _tell_kinds(self) -> None:
        """Once a claim: write down of what kind the integrations of faust.yml are, for when one is removed."""
        claim = self.claim
        if claim is None or claim in (self._kinds_told_under, None) or claim != self._follower.claim:
            return
        self._kinds_told_under = claim
        task = asyncio.get_running_loop().create_task(self._write_kinds())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_kinds(self) -> None:
        async with self._deciding:
            groups = missing_kinds(self._kept) if await self._knows_all() else []
            if groups:
                await asyncio.shield(self._table.write(PARTITION, groups))

    async def _give_back(self) -> None:
        """Partitions leave: what is being decided is written before, and nothing more after."""
        self._is_giving_back = True
        async with self._deciding:
            pass

    async def _on_assigned(self, *_args: Any, **_options: Any) -> None:
        self._is_giving_back = False
