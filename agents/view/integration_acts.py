"""What people may do with integrations: the same for the API and for the forms."""

import asyncio
import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from yarl import URL

from agents.view.imports import Applied, carry_out
from agents.view.past_events import Asked, PastEvents, Read
from agents.view.visit import Visit
from pipeline.clock import Clock
from pipeline.config.describe import settings_of_kind
from pipeline.config.schema import Outbound
from pipeline.doctor.step import Examination
from pipeline.errors import InvalidChangeError, NotFoundError
from pipeline.integrations.audit import Actor, entry_by
from pipeline.integrations.changes import Action, Change
from pipeline.integrations.preview import Preview, Previewer
from pipeline.integrations.reading import read_integration
from pipeline.integrations.secrets import masked, masked_url, restored
from pipeline.integrations.snapshot import Entry, Snapshot
from pipeline.integrations.stored import AuditEntry, Stored
from pipeline.integrations.trial import Trial, examine, try_sending
from pipeline.integrations.written import settings_of
from pipeline.integrations.yaml_reading import Fate, Imported, ImportPlan, Known
from pipeline.integrations.yaml_text import export_yaml, plan_import
from pipeline.model.integration import Integration
from pipeline.view.columns import Column, Kind, Row
from pipeline.view.mask import mask_event

COLUMNS: Final = (
    Column("id", "Integration", Kind.CODE, "Its name.", link="/integrations/{id}"),
    Column("kind", "Kind", Kind.STATE, "What the endpoint speaks."),
    Column("enabled", "Enabled", Kind.FLAG, "Whether it takes events."),
    Column("origin", "Origin", Kind.STATE, "file: from faust.yml, read-only; stored: made here."),
    Column("target", "Target", Kind.TEXT, "Where batches go, without what may be secret."),
    Column("revision", "Revision", Kind.INTEGER, "That of its last change; none for those of the file."),
    Column("changed_at", "Changed", Kind.TIME, "When it was changed last."),
    Column("changed_by", "By", Kind.TEXT, "Who changed it last."),
)
"""An integration in lists, without its settings."""

_PAGES: Final = frozenset({"new", "import"})


class Store(Protocol):
    """Where integrations are kept, as far as people's acts need it: ``agents.integrations.Integrations``."""

    @property
    def snapshot(self) -> Snapshot: ...  # noqa: D102

    async def apply(self, change: Change, actor: Actor) -> Stored:
        """Make a change; returns once it is in force on this worker."""
        ...

    async def record(self, entry: AuditEntry) -> object:
        """Put an act that changes nothing into the audit log."""
        ...


class Previewed(NamedTuple):
    """What a filter would have caught, and what was read to find out."""

    preview: Preview
    read: Read


class IntegrationActs:
    """Reads and changes integrations for whoever is signed in; roles are checked before."""

    def __init__(self, store: Store, outbound: Outbound, past: PastEvents, clock: Clock) -> None:
        self._store = store
        self._outbound = outbound
        self._past = past
        self._clock = clock
        self._rows_of = lru_cache(maxsize=1)(_rows)

    # looking

    @property
    def snapshot(self) -> Snapshot:
        """What is in force."""
        return self._store.snapshot

    def rows(self) -> list[Row]:
        """All integrations by ``COLUMNS``; made once for each snapshot."""
        return self._rows_of(self.snapshot)

    def entry(self, name: str) -> Entry:
        """The integration of this id; raises ``NotFoundError``."""
        entry = self.snapshot.get(name)
        if entry is None:
            close = difflib.get_close_matches(name[:64], self.snapshot.by_id(), n=1)
            guess = f"; did you mean {close[0]}?" if close else ""
            raise NotFoundError(f"there is no integration {name[:64]}{guess}")
        return entry

    def shown(self, entry: Entry) -> dict[str, Any]:
        """An integration for machines, its secrets masked."""
        return _row(entry) | {"settings": self.shown_settings(entry)}

    def shown_settings(self, entry: Entry) -> dict[str, Any]:
        """Its settings as they may be shown."""
        return masked(written(entry), type(entry.integration))

    def written(self, entry: Entry) -> dict[str, Any]:
        """Its settings with secrets: for what is made of them, never to be shown."""
        return written(entry)

    def read(self, settings: Mapping[str, Any], name: str = "") -> Integration:
        """The integration that ``settings`` would make, with secrets kept from the one called ``name`` where there is one.

        Raises ``InvalidChangeError`` with all mistakes.
        """
        section = settings_of_kind(settings.get("kind"))
        if section is not None:
            entry = self.snapshot.get(name) if name else None
            is_same = entry is not None and entry.integration.kind == settings.get("kind")
            settings = restored(settings, written(entry) if entry is not None and is_same else {}, section)
        return read_integration(settings, self._outbound)

    # changing

    async def create(self, settings: Mapping[str, Any], visit: Visit) -> Stored:
        """Make a new one; its id stands in the settings."""
        name = settings.get("id")
        if not isinstance(name, str) or not name:
            raise InvalidChangeError([("id", "is missing: the integration's name, 1 to 64 of a-z, 0-9 and -")])
        _check_name(name)
        return await self._apply(visit, "create", name, settings)

    async def replace(self, name: str, settings: Mapping[str, Any], expected: int | None, visit: Visit) -> Stored:
        """Put other settings in the place of all it has."""
        return await self._apply(visit, "replace", name, {"id": name, **settings}, expected)

    async def switch(self, name: str, expected: int | None, visit: Visit, *, is_on: bool) -> Stored:
        """Enable or disable it."""
        return await self._apply(visit, "enable" if is_on else "disable", name, None, expected)

    async def delete(self, name: str, expected: int | None, visit: Visit) -> Stored:
        """Remove it."""
        return await self._apply(visit, "delete", name, None, expected)

    async def duplicate(self, name: str, new_name: str, visit: Visit) -> Stored:
        """Make a copy, secrets included, that takes no events yet."""
        settings = written(self.entry(name)) | {"id": new_name, "enabled": False}
        return await self.create(settings, visit)

    async def _apply(
        self, visit: Visit, action: Action, name: str, settings: Mapping[str, Any] | None, expected: int | None = None
    ) -> Stored:
        change = Change(action, name, None if settings is None else dict(settings), expected)
        return await self._store.apply(change, actor_of(visit))

    # trying

    async def try_sending(self, integration: Integration, visit: Visit) -> Trial:
        """Send a test event to its endpoint."""
        await self._record(visit, "test event sent", integration)
        return await try_sending(integration, self._outbound.client(), now_s=self._clock.wall_s())

    async def examine(self, integration: Integration, visit: Visit, *, sends: bool) -> Examination:
        """Examine it from its name to a test event."""
        if sends:
            await self._record(visit, "integration examined", integration)
        return await examine(integration, self._outbound.client(), sends=sends)

    async def preview(self, integration: Integration, asked: Asked, visit: Visit) -> Previewed:
        """What its filters would have caught; samples are masked for the visitor."""
        previewer = Previewer(integration)
        read = await self._past.read(asked, previewer.look_at, now_s=self._clock.wall_s())
        return Previewed(previewer.result(lambda event: mask_event(event, visit.masks)), read)

    async def _record(self, visit: Visit, what: str, integration: Integration) -> None:
        """Before it is done: nothing leaves here that the audit log does not tell of."""
        details = {"target": _target(integration.url)}
        await self._store.record(entry_by(actor_of(visit), what, integration.id, details, at=self._clock.wall_s()))

    # in and out

    def export(self, names: Iterable[str] = ()) -> Iterator[str]:
        """The YAML of all integrations, or of those named, a piece at a time. Raises ``NotFoundError`` before the first."""
        entries = [self.entry(name) for name in names] or [*self.snapshot]
        return export_yaml(written(entry) for entry in entries)

    async def plan(self, text: str, variables: Mapping[str, str]) -> ImportPlan:
        """What an import of ``text`` would do."""
        snapshot = self.snapshot

        def known(name: str) -> Known | None:
            entry = snapshot.get(name)
            return None if entry is None else _known(entry)

        def read(settings: Mapping[str, Any]) -> Integration:
            _check_name(str(settings.get("id")))
            return read_integration(settings, self._outbound)

        # Reading megabytes of YAML takes seconds, and events flow on this loop.
        return await asyncio.to_thread(plan_import, text, variables, known, read)

    async def carry_out(self, plan: ImportPlan, visit: Visit) -> list[Applied]:
        """Do what ``plan`` says; raises ``InvalidChangeError`` where it has mistakes."""

        async def change(imported: Imported) -> None:
            action: Action = "create" if imported.fate is Fate.CREATE else "replace"
            await self._apply(visit, action, imported.id, imported.settings, imported.revision)

        return await carry_out(plan, change)


def written(entry: Entry) -> dict[str, Any]:
    """The settings of an integration, its secrets in plain text."""
    if entry.origin == "stored" and entry.stored is not None:
        return dict(entry.stored.settings)
    return settings_of(entry.integration)


def actor_of(visit: Visit) -> Actor:
    """Who acts, for the audit log."""
    return Actor(visit.person.name, visit.person.role.value, visit.address)


def as_json(value: Any) -> Any:
    """What a typed answer looks like as JSON."""
    return msgspec.to_builtins(value)


def _check_name(name: str) -> None:
    """Raise ``InvalidChangeError`` for an id whose page could never be reached."""
    if name in _PAGES:
        raise InvalidChangeError([("id", f"{name} is the address of a page here; choose another id")])


def _rows(snapshot: Snapshot) -> list[Row]:
    return [_row(entry) for entry in snapshot]


def _row(entry: Entry) -> Row:
    integration, stored = entry.integration, entry.stored if entry.origin == "stored" else None
    return {
        "id": integration.id,
        "kind": integration.kind,
        "enabled": integration.enabled,
        "origin": entry.origin,
        "target": _target(integration.url),
        "revision": None if stored is None else stored.revision,
        "changed_at": None if stored is None else stored.changed_at,
        "changed_by": None if stored is None else stored.changed_by,
    }


def _target(url: str) -> str:
    return masked_url(str(URL(url).with_fragment(None)) if url else "")


def _known(entry: Entry) -> Known:
    revision = entry.stored.revision if entry.stored is not None else 0
    return Known(entry.integration, written(entry), revision, is_read_only=entry.origin == "file")
