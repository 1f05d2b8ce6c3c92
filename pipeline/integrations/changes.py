"""What a change makes of what is stored: the rows to write, or why it cannot be."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

from pipeline.config.describe import settings_of_kind
from pipeline.config.schema import Settings
from pipeline.errors import InvalidChangeError
from pipeline.integrations.audit import Actor, differences, entry_by
from pipeline.integrations.deciding import Wanted, audited, check_place, check_size
from pipeline.integrations.kept import Kept
from pipeline.integrations.reading import read_integration
from pipeline.integrations.secrets import restored
from pipeline.integrations.stored import (
    AuditEntry,
    KindRow,
    RowGroup,
    Stored,
    encode_row,
    kind_key,
    stored_key,
)
from pipeline.model.integration import Integration

Action = Literal["create", "replace", "enable", "disable", "delete"]

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

_DONE: Final[Mapping[Action, str]] = {
    "create": "integration created",
    "replace": "integration replaced",
    "enable": "integration enabled",
    "disable": "integration disabled",
    "delete": "integration deleted",
}


class Change(msgspec.Struct, frozen=True):
    """What somebody wants of the integration ``id``.

    ``settings`` go with ``create`` and ``replace``, as ``faust.yml`` would hold them; a secret that is ``KEEP`` stays what it
    is. ``expected_revision`` is the one that whoever changes it has seen; ``None`` for whatever it is.
    """

    action: Action
    id: str
    settings: dict[str, Any] | None = None
    expected_revision: int | None = None


class Decided(NamedTuple):
    """What follows from a change: rows to be written as one group, the entry among them, and what is stored then.

    Where the change changes nothing there are no rows and no entry. A deleted integration is told as it was, under the
    revision of its deletion.
    """

    rows: RowGroup
    entry: AuditEntry | None
    stored: Stored


def decide(change: Change, kept: Kept, settings: Settings, *, now_s: float, actor: Actor) -> Decided:
    """Apply ``change`` to what is ``kept``, by the rules of ``settings``; ``now_s`` is UNIX seconds.

    Raises ``NotFoundError``, ``ConflictError`` (409: it exists or is in faust.yml; 412: it was changed meanwhile) and
    ``InvalidChangeError`` with all mistakes.
    """
    before = kept.stored.get(change.id)
    wanted_place = Wanted("an integration", change.id, change.action, change.expected_revision)
    check_place(wanted_place, before, is_in_file=change.id in kept.file)
    if change.action == "delete":
        assert before is not None
        return _deleted(before, kept, now_s=now_s, actor=actor)
    wanted = _wanted(change, before)
    integration = _read(change.id, wanted, before, kept, settings)
    check_size(wanted)
    if before is not None and before.settings == wanted:
        return Decided([], None, before)
    revision = kept.revision + 1
    details = differences(before.settings if before else None, wanted)
    entry = entry_by(actor, _DONE[change.action], change.id, details, at=now_s, revision=revision)
    stored = Stored(change.id, wanted, revision, now_s, entry.who)
    rows: RowGroup = [(stored_key(change.id), encode_row(stored)), *audited(entry, kept)]
    if kept.kinds.get(change.id) != integration.kind:
        rows.append((kind_key(change.id), encode_row(KindRow(integration.kind))))
    return Decided(rows, entry, stored)


def recorded(entry: AuditEntry, kept: Kept) -> tuple[RowGroup, AuditEntry]:
    """The rows of an act that changes no integration, a replay for example, and the entry as it is stored."""
    entry = msgspec.structs.replace(entry, revision=kept.revision + 1)
    return audited(entry, kept), entry


def missing_kinds(kept: Kept) -> list[RowGroup]:
    """Rows that say of what kind the integrations of ``faust.yml`` are, where that is not stored yet."""
    return [
        [(kind_key(each.id), encode_row(KindRow(each.kind)))]
        for each in kept.file.values()
        if each.id not in kept.kinds
    ]


def changed_kinds(kept: Kept) -> list[str]:
    """What is wrong with integrations of ``faust.yml`` that were of another kind before: a line each.

    A lane's numbers go on over all that happens to its integration, and the deliveries of each kind know those of their own
    lanes alone: to another kind, the events that the first one delivered would be missing.
    """
    return [
        f"integration {each.id} is of kind {each.kind} and was of kind {was}: an id keeps its kind. Make it {was} "
        f"again, or give what is of kind {each.kind} another id"
        for each in kept.file.values()
        if (was := kept.kinds.get(each.id, each.kind)) != each.kind
    ]


def _wanted(change: Change, before: Stored | None) -> dict[str, Any]:
    """The settings that are wanted, secrets that are kept put in."""
    if change.action in ("enable", "disable"):
        assert before is not None
        return {**before.settings, "enabled": change.action == "enable"}
    if change.settings is None:
        raise InvalidChangeError([("", "the settings are missing")])
    section = settings_of_kind(change.settings.get("kind"))
    if section is None:  # reading says what is wrong with the kind
        return dict(change.settings)
    return restored(change.settings, before.settings if before else {}, section)


def _read(name: str, wanted: Mapping[str, Any], before: Stored | None, kept: Kept, settings: Settings) -> Integration:
    """The integration that is wanted; raises ``InvalidChangeError`` with all mistakes at once."""
    problems = [*_other_identity(name, wanted, before, kept)]
    integration = None
    try:
        integration = read_integration(wanted, settings.outbound)
    except InvalidChangeError as error:
        problems += [each for each in error.problems if each[0] not in dict(problems)]
    if problems or integration is None:
        raise InvalidChangeError(problems)
    return integration


def _other_identity(
    name: str, wanted: Mapping[str, Any], before: Stored | None, kept: Kept
) -> Iterator[tuple[str, str]]:
    if wanted.get("id") != name:
        yield "id", f"must be {name}: an id cannot change; duplicate the integration instead"
    known = kept.kinds.get(name) if before is None else before.kind
    if known is not None and known != wanted.get("kind") and settings_of_kind(wanted.get("kind")) is not None:
        was = "was" if before is None else "is"
        yield "kind", f"must be {known}: {name} {was} of that kind, and its lanes' numbers go on; choose another id"


def _deleted(before: Stored, kept: Kept, *, now_s: float, actor: Actor) -> Decided:
    revision = kept.revision + 1
    entry = entry_by(actor, _DONE["delete"], before.id, differences(before.settings, None), at=now_s, revision=revision)
    rows: RowGroup = [(stored_key(before.id), None), *audited(entry, kept)]
    gone = msgspec.structs.replace(before, revision=revision, changed_at=now_s, changed_by=entry.who)
    return Decided(rows, entry, gone)
