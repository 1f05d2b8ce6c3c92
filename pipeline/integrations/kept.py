"""What table ``integrations`` holds, as its rows tell one after the other."""

from collections.abc import Iterable, Sequence
from typing import Final

from pipeline.config.schema import Settings
from pipeline.errors import CodecError, InvalidChangeError
from pipeline.inbound.settings import WebhookSettings
from pipeline.integrations.kept_webhooks import KeptWebhooks
from pipeline.integrations.reading import read_integration
from pipeline.integrations.snapshot import Entry, Snapshot
from pipeline.integrations.stored import AuditEntry, KindRow, Stored, audit_key, decode_row, parse_key
from pipeline.model.integration import Integration

MOST_AUDITED: Final = 20_000
"""Entries of the audit log that are kept: each change beyond removes the oldest one."""


class Kept:
    """The stored integrations and webhooks, the kinds of all integrations that ever were, and the audit log.

    ``file`` are the integrations of ``faust.yml``, which win over stored ones with the same id, as the webhooks there do.
    ``revision`` is that of the newest entry. Not to be changed but by ``take``.
    """

    def __init__(self, file: Sequence[Integration] = (), webhooks: Sequence[WebhookSettings] = ()) -> None:
        self.file = {each.id: each for each in file}
        self.stored: dict[str, Stored] = {}
        self.webhooks = KeptWebhooks(webhooks)
        self.kinds: dict[str, str] = {}
        self.revision = 0
        self._audit: dict[int, bytes] = {}
        self._unread: dict[str, None] = {}
        self._entries = {each.id: Entry(each, "file") for each in file}

    @classmethod
    def of_file(cls, settings: Settings) -> "Kept":
        """Nothing stored yet, beside what ``faust.yml`` names."""
        return cls(settings.integrations, () if settings.inbound is None else settings.inbound.webhooks)

    def take(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Apply rows in the order of the changelog; raises ``CodecError`` where one cannot be understood."""
        for key, value in rows:
            kind, name = parse_key(key)
            if kind == "a":
                self._take_audit(int(name), value)
            elif kind == "k":
                self._take_kind(name, key, value)
            elif kind == "w":
                self.revision = max(self.revision, self.webhooks.take(name, key, value))
            elif value is None:
                self._remove(name)
            else:
                self.stored[name] = row = decode_row(Stored, key, value)
                self.revision = max(self.revision, row.revision)
                self._unread[name] = None

    def _take_audit(self, revision: int, value: bytes | None) -> None:
        if value is None:
            self._audit.pop(revision, None)
        else:
            self._audit[revision] = value
            self.revision = max(self.revision, revision)

    def _take_kind(self, name: str, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.kinds.pop(name, None)
        else:
            self.kinds[name] = decode_row(KindRow, key, value).kind

    def _remove(self, name: str) -> None:
        self.stored.pop(name, None)
        self._unread.pop(name, None)
        if name in self.file:
            self._entries[name] = Entry(self.file[name], "file")
        else:
            self._entries.pop(name, None)

    @property
    def is_read(self) -> bool:
        """Whether all that is stored has been read into integrations and webhooks."""
        return not self._unread and self.webhooks.is_read

    def read_next(self) -> None:
        """Read one more of what is stored, which takes up to some tenths of a millisecond.

        Raises ``CodecError`` where this version cannot: another one wrote it, and going on without it would lose its events.
        """
        if not self._unread:
            self.webhooks.read_next()
            return
        name = next(iter(self._unread))
        try:
            # Where it may go was looked at when it was stored; and each connection is looked at again.
            integration = read_integration(self.stored[name].settings, None)
        except InvalidChangeError as error:
            raise CodecError(
                f"the stored integration {name} cannot be read by this version ({error}); run the same version on all workers"
            ) from error
        stored = self.stored[name]
        self._entries[name] = (
            Entry(self.file[name], "file", stored) if name in self.file else Entry(integration, "stored", stored)
        )
        del self._unread[name]

    def snapshot(self) -> Snapshot:
        """All that is in force; whatever is unread is read now."""
        while not self.is_read:
            self.read_next()
        return Snapshot(self.revision, dict(self._entries), dict(self.kinds), self.webhooks.entries())

    def audit(self) -> list[AuditEntry]:
        """The audit log, the newest entry first."""
        return [
            decode_row(AuditEntry, audit_key(number), self._audit[number])
            for number in sorted(self._audit, reverse=True)
        ]

    def audit_beyond(self, most: int) -> list[int]:
        """Revisions of the oldest entries that are more than ``most``."""
        return sorted(self._audit)[: max(0, len(self._audit) - most)]
