"""What the audit log says of a change: which keys changed, from what to what, and no secret."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from pipeline.config.describe import settings_of_kind
from pipeline.integrations.secrets import masked
from pipeline.integrations.stored import AuditEntry
from pipeline.model.integration import Integration

_LONGEST_NAME: Final = 200


class Actor(NamedTuple):
    """Who acts: a name, the role they have, and the address they came from."""

    name: str
    role: str
    address: str = ""


def entry_by(
    actor: Actor, what: str, target: str, details: Mapping[str, Any], *, at: float, revision: int = 0
) -> AuditEntry:
    """An entry that ``actor`` did ``what`` to ``target`` at ``at``, UNIX seconds. Texts become ones that can be stored."""
    return AuditEntry(
        revision,
        at,
        _text(actor.name),
        _text(actor.role),
        _text(what),
        _text(target),
        dict(details),
        _text(actor.address),
    )


def differences(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, section: type[BaseModel] | None = None
) -> dict[str, list[Any]]:
    """Each key, with dots, whose value differs, with its value in ``before`` and in ``after``; ``None`` for absent.

    Both are settings of class ``section``, or of an integration. Secrets are masked, so one that changed is told as two masks.
    """
    old, new = dict(_flat(before or {}, ())), dict(_flat(after or {}, ()))
    shown_old, shown_new = dict(_flat(_masked(before, section), ())), dict(_flat(_masked(after, section), ()))
    changed = [place for place in {**old, **new} if old.get(place) != new.get(place)]
    return {".".join(place): [_shown(shown_old, place), _shown(shown_new, place)] for place in changed}


def _flat(settings: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, (*path, key))
        else:
            yield (*path, key), value


def _masked(settings: Mapping[str, Any] | None, section: type[BaseModel] | None) -> dict[str, Any]:
    if settings is None:
        return {}
    return masked(settings, section or settings_of_kind(settings.get("kind")) or Integration)


def _shown(flat: Mapping[tuple[str, ...], Any], place: tuple[str, ...]) -> Any:
    while place and place not in flat:  # a section that is hidden as a whole
        place = place[:-1]
    return flat.get(place)


def _text(text: str) -> str:
    return text[:_LONGEST_NAME].encode("utf-8", "replace").decode()
