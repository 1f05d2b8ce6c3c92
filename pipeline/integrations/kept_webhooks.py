"""The webhooks that table ``integrations`` holds, beside those of ``faust.yml``."""

from collections.abc import Sequence

from pipeline.errors import CodecError, InvalidChangeError
from pipeline.inbound.settings import WebhookSettings
from pipeline.integrations.reading_webhooks import read_webhook
from pipeline.integrations.snapshot import WebhookEntry
from pipeline.integrations.stored import StoredWebhook, decode_row


class KeptWebhooks:
    """``file`` are those of ``faust.yml`` by id, which win over ``stored`` ones with the same id."""

    def __init__(self, file: Sequence[WebhookSettings] = ()) -> None:
        self.file = {each.id: each for each in file}
        self.stored: dict[str, StoredWebhook] = {}
        self._unread: dict[str, None] = {}
        self._entries = {each.id: WebhookEntry(each, "file") for each in file}

    def take(self, name: str, key: bytes, value: bytes | None) -> int:
        """Apply the row ``key`` of webhook ``name``; gives its revision, 0 for none. Raises ``CodecError``."""
        if value is None:
            self.stored.pop(name, None)
            self._unread.pop(name, None)
            self._entries.pop(name, None)
            if name in self.file:
                self._entries[name] = WebhookEntry(self.file[name], "file")
            return 0
        self.stored[name] = row = decode_row(StoredWebhook, key, value)
        self._unread[name] = None
        return row.revision

    @property
    def is_read(self) -> bool:
        """Whether all that is stored has been read."""
        return not self._unread

    def read_next(self) -> None:
        """Read one more; raises ``CodecError`` where this version cannot."""
        name = next(iter(self._unread))
        stored = self.stored[name]
        try:
            settings = read_webhook(stored.settings)
        except InvalidChangeError as error:
            raise CodecError(
                f"the stored webhook {name} cannot be read by this version ({error}); run the same version on all workers"
            ) from error
        is_in_file = name in self.file
        self._entries[name] = WebhookEntry(
            self.file[name] if is_in_file else settings, "file" if is_in_file else "stored", stored
        )
        del self._unread[name]

    def entries(self) -> dict[str, WebhookEntry]:
        """All that is in force and read, by id: those of the file as they stand there, then those stored, by id."""
        file = {name: self._entries[name] for name in self.file}
        return file | {name: self._entries[name] for name in sorted(self._entries.keys() - file.keys())}
