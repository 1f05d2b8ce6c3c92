"""What a change makes of a stored webhook: the rows to write, or why it cannot be.

A secret is made when a webhook is made, unless whoever makes it brings one along, and by ``rotate``; it is told then, in what
is stored, and never again. After ``rotate`` the secret before it is valid too, for as long as the change says.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

from pipeline.errors import InvalidChangeError
from pipeline.inbound.settings import WebhookSettings
from pipeline.integrations.audit import Actor, differences, entry_by
from pipeline.integrations.deciding import Wanted, audited, check_place, check_size
from pipeline.integrations.kept import Kept
from pipeline.integrations.reading_webhooks import read_webhook
from pipeline.integrations.stored import AuditEntry, RowGroup, StoredWebhook, encode_row, webhook_key
from pipeline.integrations.webhook_secrets import SECRET, USUAL_VALID_FOR_S, restored_webhook, rotated

WebhookAction = Literal["create", "replace", "enable", "disable", "delete", "rotate"]

WEBHOOK_ACTIONS: Final[tuple[WebhookAction, ...]] = get_args(WebhookAction)

_SAMPLE: Final = "sample"
_DONE: Final[Mapping[WebhookAction, str]] = {
    "create": "webhook created",
    "replace": "webhook replaced",
    "enable": "webhook enabled",
    "disable": "webhook disabled",
    "delete": "webhook deleted",
    "rotate": "webhook secret rotated",
}


class WebhookChange(msgspec.Struct, frozen=True):
    """What somebody wants of the webhook ``id``.

    ``settings`` go with ``create`` and ``replace``, as an entry of ``inbound.webhooks`` would hold them; a secret that is
    ``KEEP``, or absent in a ``replace``, stays what it is, and ``previous_secret: null`` ends what ``rotate`` began.
    ``expected_revision`` is the one that whoever changes it has seen; ``None`` for whatever it is. ``valid_for_s`` goes with
    ``rotate``: how many seconds the secret that was valid until now stays valid.
    """

    action: WebhookAction
    id: str
    settings: dict[str, Any] | None = None
    expected_revision: int | None = None
    valid_for_s: float = USUAL_VALID_FOR_S


class DecidedWebhook(NamedTuple):
    """What follows from a change: rows to be written as one group, the entry among them, and what is stored then.

    Where the change changes nothing there are no rows and no entry. A deleted webhook is told as it was, under the revision of
    its deletion.
    """

    rows: RowGroup
    entry: AuditEntry | None
    stored: StoredWebhook


def decide_webhook(
    change: WebhookChange, kept: Kept, *, now_s: float, actor: Actor, new_secret: Callable[[], str]
) -> DecidedWebhook:
    """Apply ``change`` to what is ``kept``; ``now_s`` is UNIX seconds, ``new_secret`` makes a secret where one is needed.

    Raises ``NotFoundError``, ``ConflictError`` (409: it exists or is in faust.yml; 412: it was changed meanwhile) and
    ``InvalidChangeError`` with all mistakes.
    """
    before = kept.webhooks.stored.get(change.id)
    place = Wanted("a webhook", change.id, change.action, change.expected_revision)
    check_place(place, before, is_in_file=change.id in kept.webhooks.file)
    revision = kept.revision + 1
    if change.action == "delete":
        assert before is not None
        entry = _entry(change, before.settings, None, now_s=now_s, revision=revision, actor=actor)
        rows: RowGroup = [(webhook_key(before.id), None), *audited(entry, kept)]
        gone = msgspec.structs.replace(before, revision=revision, changed_at=now_s, changed_by=entry.who)
        return DecidedWebhook(rows, entry, gone)
    wanted = _wanted(change, before, now_s, new_secret)
    _check(change.id, wanted)
    check_size(wanted)
    if before is not None and before.settings == wanted:
        return DecidedWebhook([], None, before)
    entry = _entry(change, before.settings if before else None, wanted, now_s=now_s, revision=revision, actor=actor)
    made = revision if before is None else before.made
    stored = StoredWebhook(change.id, wanted, revision, now_s, entry.who, made)
    return DecidedWebhook([(webhook_key(change.id), encode_row(stored)), *audited(entry, kept)], entry, stored)


def _wanted(
    change: WebhookChange, before: StoredWebhook | None, now_s: float, new_secret: Callable[[], str]
) -> dict[str, Any]:
    """The settings that are wanted, secrets put in."""
    if change.action in ("enable", "disable"):
        assert before is not None
        return {**before.settings, "enabled": change.action == "enable"}
    if change.action == "rotate":
        assert before is not None
        return rotated(before.settings, new_secret(), valid_for_s=change.valid_for_s, now_s=now_s)
    if change.settings is None:
        raise InvalidChangeError([("", "the settings are missing")])
    wanted = restored_webhook(change.settings, before.settings if before else {})
    if before is None and SECRET not in wanted:
        wanted[SECRET] = new_secret()
    return wanted


def _check(name: str, wanted: Mapping[str, Any]) -> None:
    """Raise ``InvalidChangeError`` with all mistakes at once."""
    problems = [*_other_id(name, wanted)]
    try:
        read_webhook(wanted)
    except InvalidChangeError as error:
        problems += [each for each in error.problems if each[0] not in dict(problems)]
    if problems:
        raise InvalidChangeError(problems)


def _other_id(name: str, wanted: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if wanted.get("id") != name:
        yield (
            "id",
            f"must be {name}: an id cannot change, since callers have it in their URL; make another webhook instead",
        )


def _entry(
    change: WebhookChange,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    *,
    now_s: float,
    revision: int,
    actor: Actor,
) -> AuditEntry:
    details: dict[str, Any] = dict(differences(before, after, WebhookSettings))
    if _SAMPLE in details:  # it may hold what a person sent, and be long; that it changed is enough
        details[_SAMPLE] = [None if text is None else f"{len(str(text))} characters" for text in details[_SAMPLE]]
    return entry_by(actor, _DONE[change.action], change.id, details, at=now_s, revision=revision)
