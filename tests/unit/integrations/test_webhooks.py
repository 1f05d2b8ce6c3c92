from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import Settings
from pipeline.errors import CodecError, ConflictError, InvalidChangeError, NotFoundError
from pipeline.inbound.secrets import authorized, header_value, new_secret
from pipeline.integrations.audit import Actor
from pipeline.integrations.kept import Kept
from pipeline.integrations.reading_webhooks import read_webhook
from pipeline.integrations.secrets import KEEP
from pipeline.integrations.stored import StoredWebhook, encode_row, parse_key, webhook_key
from pipeline.integrations.webhooks import WEBHOOK_ACTIONS, DecidedWebhook, WebhookChange, decide_webhook
from pipeline.model.section import Origin
from pipeline.view.columns import Personal
from pipeline.view.decoded import decode_table_row, read_key

ANA = Actor("ana", "admin", "10.1.2.3")
NOW_S = 1_800_000_000.0
MADE = "made-secret-0000001"
OTHER = "made-secret-0000002"


def orders(name: str = "orders", **keys: Any) -> dict[str, Any]:
    return {
        "id": name,
        "name": "Orders",
        "event": "OrderPlaced",
        "application": "32E5A-9B411",
        "identify": {"by": "email", "field": "customer.email"},
        **keys,
    }


def applied(
    kept: Kept, action: Any, settings: Any = None, *, name: str = "orders", secret: str = MADE, **keys: Any
) -> DecidedWebhook:
    """Decide, and take in what was decided as a reader of the changelog does."""
    change = WebhookChange(action, name, settings, **keys)
    decided = decide_webhook(change, kept, now_s=NOW_S, actor=ANA, new_secret=lambda: secret)
    kept.take(decided.rows)
    return decided


def in_file(*names: str) -> Kept:
    return Kept((), [read_webhook(orders(name, secret="secret-of-the-file")) for name in names])


def test_a_webhook_that_is_made_gets_a_secret() -> None:
    kept = Kept()
    made = applied(kept, "create", orders())
    assert made.stored == StoredWebhook("orders", orders(secret=MADE), 1, NOW_S, "ana", made=1)
    assert [parse_key(key) for key, _ in made.rows] == [("w", "orders"), ("a", "000000000001")]
    entry = kept.snapshot().webhooks["orders"]
    assert (entry.origin, entry.id, entry.settings.secret.get_secret_value()) == ("stored", "orders", MADE)


def test_a_webhook_is_the_same_until_it_is_deleted_and_another_one_under_its_id_afterwards() -> None:
    kept = Kept()
    made = applied(kept, "create", orders()).stored.made
    changed = applied(kept, "disable", expected_revision=1)
    applied(kept, "delete", expected_revision=changed.stored.revision)
    again = applied(kept, "create", orders())
    assert (changed.stored.made, again.stored.made) == (made, again.stored.revision)
    assert again.stored.made > made


def test_a_secret_that_is_brought_along_is_taken() -> None:
    made = applied(Kept(), "create", orders(secret="brought-along-0001"))
    assert made.stored.settings["secret"] == "brought-along-0001"


def test_integrations_and_webhooks_are_numbered_by_one_counter_and_may_share_an_id() -> None:
    kept = Kept()
    applied(kept, "create", orders())
    kept.take([(b"a/000000000007", None)])
    assert applied(kept, "disable").stored.revision == kept.revision == 2
    assert "orders" not in kept.snapshot()


def test_secrets_that_a_change_does_not_name_stay() -> None:
    kept = Kept()
    applied(kept, "create", orders())
    applied(kept, "rotate", secret=OTHER)
    before = kept.webhooks.stored["orders"].settings
    assert applied(kept, "replace", orders(event="Paid")).stored.settings == {**before, "event": "Paid"}
    shown = orders(event="Paid", secret=KEEP, previous_secret=KEEP, previous_until=before["previous_until"])
    assert applied(kept, "replace", shown).rows == []


def test_a_secret_that_is_written_ends_the_one_before() -> None:
    kept = Kept()
    applied(kept, "create", orders())
    applied(kept, "rotate", secret=OTHER)
    changed = applied(kept, "replace", orders(secret="brought-along-0001"))
    assert changed.stored.settings == orders(secret="brought-along-0001")


@pytest.mark.parametrize("empty", [None, ""])
def test_what_rotation_began_can_be_ended_early(empty: Any) -> None:
    kept = Kept()
    applied(kept, "create", orders())
    applied(kept, "rotate", secret=OTHER)
    assert applied(kept, "replace", orders(previous_secret=empty)).stored.settings == orders(secret=OTHER)


def test_there_is_nothing_to_keep_in_a_new_webhook() -> None:
    with pytest.raises(InvalidChangeError, match="no stored secret to keep"):
        applied(Kept(), "create", orders(secret=KEEP))


@given(
    valid_for_s=st.floats(1, 30 * 86_400),
    after_s=st.floats(0, 40 * 86_400),
    secrets=st.tuples(st.builds(new_secret), st.builds(new_secret)),
)
def test_after_rotation_both_secrets_are_valid_for_the_stated_time_and_then_one(
    valid_for_s: float, after_s: float, secrets: tuple[str, str]
) -> None:
    kept = Kept()
    applied(kept, "create", orders(), secret=secrets[0])
    applied(kept, "rotate", secret=secrets[1], valid_for_s=valid_for_s)
    webhook = kept.snapshot().webhooks["orders"].settings
    at_s = NOW_S + after_s
    assert authorized(header_value(secrets[1]), webhook, at_s)
    if abs(after_s - valid_for_s) > 1:  # the time is stored in whole seconds
        assert authorized(header_value(secrets[0]), webhook, at_s) == (after_s < valid_for_s)


def test_with_no_time_left_the_secret_before_ends_at_once() -> None:
    kept = Kept()
    applied(kept, "create", orders())
    assert applied(kept, "rotate", secret=OTHER, valid_for_s=0.0).stored.settings == orders(secret=OTHER)


@pytest.mark.parametrize("valid_for_s", [-1.0, 31 * 86_400.0, float("nan"), float("inf")])
def test_a_secret_stays_valid_for_thirty_days_at_most(valid_for_s: float) -> None:
    kept = Kept()
    applied(kept, "create", orders())
    with pytest.raises(InvalidChangeError, match="valid_for: must be 0s to 30d"):
        applied(kept, "rotate", valid_for_s=valid_for_s)


def test_no_secret_is_in_the_audit_log() -> None:
    kept = Kept()
    applied(kept, "create", orders())
    applied(kept, "rotate", secret=OTHER)
    applied(kept, "replace", orders(secret="brought-along-0001"))
    applied(kept, "delete")
    assert [entry.what for entry in kept.audit()] == [
        "webhook deleted",
        "webhook replaced",
        "webhook secret rotated",
        "webhook created",
    ]
    assert kept.audit()[2].details["secret"] == [KEEP, KEEP]
    assert not any(secret in str(kept.audit()) for secret in (MADE, OTHER, "brought-along"))


def test_a_sample_is_told_in_the_audit_log_by_its_length_alone() -> None:
    kept = Kept()
    applied(kept, "create", orders(sample='{"email": "jane@example.com"}'))
    assert kept.audit()[0].details["sample"] == [None, "29 characters"]


def test_webhooks_of_the_file_are_read_only() -> None:
    for action in WEBHOOK_ACTIONS:
        with pytest.raises(ConflictError, match=r"orders is a webhook of faust\.yml, which is read-only") as error:
            applied(in_file("orders"), action, orders())
        assert error.value.status == 409


def test_a_stored_one_that_the_file_hides_can_be_deleted() -> None:
    kept = in_file("orders")
    hidden = StoredWebhook("orders", orders(secret=MADE), 1, 1.0, "ana")
    kept.take([(webhook_key("orders"), encode_row(hidden))])
    entry = kept.snapshot().webhooks["orders"]
    assert (entry.origin, entry.settings.secret.get_secret_value()) == ("file", "secret-of-the-file")
    assert entry.stored == hidden
    applied(kept, "delete")
    assert kept.snapshot().webhooks["orders"].stored is None


@pytest.mark.parametrize("action", ["replace", "enable", "disable", "delete", "rotate"])
def test_what_is_not_there_is_not_found(action: str) -> None:
    with pytest.raises(NotFoundError, match="there is no webhook orders"):
        applied(Kept(), action, orders())


def test_an_id_is_made_once() -> None:
    kept = Kept()
    applied(kept, "create", orders())
    with pytest.raises(ConflictError, match="there is a webhook orders already"):
        applied(kept, "create", orders())


def test_whoever_has_seen_an_older_revision_is_told_who_changed_it() -> None:
    kept = Kept()
    applied(kept, "create", orders())
    applied(kept, "disable")
    with pytest.raises(ConflictError, match="changed meanwhile, by ana: it is at revision 2, not 1"):
        applied(kept, "rotate", expected_revision=1)


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        (None, {""}),
        ({}, {"id", "name", "event", "application", "identify"}),
        (orders("other"), {"id"}),
        (orders(identify={"by": "name", "field": "a..b"}), {"identify.by", "identify.field"}),
        (orders(attributes={"total": "a[", "__webhook": "b"}), {"attributes.total", "attributes.__webhook"}),
        (orders(secret="short"), {"secret"}),
        (orders(sample="[]", colour="red"), {"sample", "colour"}),
        (orders(previous_secret="previous-secret-01"), {"previous_until"}),
    ],
)
def test_every_mistake_is_named_by_its_key(settings: Any, keys: set[str]) -> None:
    with pytest.raises(InvalidChangeError) as error:
        applied(Kept(), "create", settings)
    assert {key for key, _ in error.value.problems} == keys


def test_what_is_too_large_to_be_kept_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.integrations.deciding.MOST_BYTES", 100)
    with pytest.raises(InvalidChangeError, match="at most 100"):
        applied(Kept(), "create", orders())


@pytest.mark.parametrize("value", [b"not json", encode_row(StoredWebhook("orders", {}, 1, 1.0, "ana", version=2))])
def test_rows_that_this_version_does_not_know_end_the_worker(value: bytes) -> None:
    with pytest.raises(CodecError):
        Kept().take([(webhook_key("orders"), value)])


def test_a_stored_webhook_that_this_version_cannot_read_ends_the_worker() -> None:
    kept = Kept()
    stored = StoredWebhook("orders", orders(secret=MADE, of_tomorrow=1), 1, 1.0, "ana")
    kept.take([(webhook_key("orders"), encode_row(stored))])
    with pytest.raises(CodecError, match="same version on all workers"):
        kept.snapshot()


def test_an_unchanged_webhook_is_the_same_object_in_the_next_snapshot() -> None:
    kept = Kept()
    applied(kept, "create", orders())
    applied(kept, "create", orders("refunds"), name="refunds")
    before = kept.snapshot()
    applied(kept, "disable", name="refunds")
    after = kept.snapshot()
    assert after.webhooks["orders"] is before.webhooks["orders"]
    assert {*after.webhook_changes_from(before)} == {"refunds"}


def test_those_of_the_file_come_first() -> None:
    settings = Settings.model_validate(
        {"inbound": {"webhooks": [orders("z", secret="secret-of-the-file")]}}, context=Origin.FILE
    )
    kept = Kept.of_file(settings)
    for name in ("b", "a"):
        applied(kept, "create", orders(name), name=name)
    assert [*kept.snapshot().webhooks] == ["z", "a", "b"]


def test_a_row_of_a_webhook_is_shown_without_its_secrets_and_with_its_sample_masked() -> None:
    kept = Kept()
    applied(kept, "create", orders(sample='{"customer":{"email":"jane@example.com"}}'))
    decided = applied(kept, "rotate", secret=OTHER)
    [(key, value), *_] = decided.rows
    shown = decode_table_row("integrations", key, value, frozenset({Personal.EMAIL}), sections={})
    assert (shown.kind, shown.problem, read_key("integrations", key).kind) == ("webhook", "", "webhook")
    assert not any(hidden in str(shown) for hidden in (MADE, OTHER, "jane@example.com"))


actions = st.tuples(
    st.sampled_from(WEBHOOK_ACTIONS),
    st.sampled_from(["a", "b", "f"]),
    st.booleans(),
    st.sampled_from([None, 0, 1, 2, 3]),
)


@given(st.lists(actions, max_size=12))
def test_whatever_is_asked_the_snapshot_is_what_the_accepted_changes_say(asked: list[Any]) -> None:
    kept, expected, revisions, revision = in_file("f"), {"f": True}, dict[str, int](), 0
    for number, (action, name, is_enabled, seen) in enumerate(asked):
        settings = orders(name, enabled=is_enabled) if action in ("create", "replace") else None
        exists = name in revisions
        is_accepted = name != "f" and exists == (action != "create") and seen in (None, revisions.get(name, 0))
        before = kept.snapshot()
        keys = {"name": name, "expected_revision": seen, "secret": f"made-secret-{number:08d}"}
        if not is_accepted:
            with pytest.raises((ConflictError, NotFoundError)):
                applied(kept, action, settings, **keys)
            assert kept.snapshot().webhook_changes_from(before) == {}
            continue
        if applied(kept, action, settings, **keys).rows:
            revision += 1
            revisions[name] = revision
        expected[name] = {"enable": True, "disable": False, "rotate": expected.get(name)}.get(action, is_enabled)
        if action == "delete":
            del expected[name], revisions[name]
        snapshot = kept.snapshot()
        assert kept.revision == snapshot.revision == revision
        assert {entry.id: entry.settings.enabled for entry in snapshot.webhooks.values()} == expected
        assert set(snapshot.webhook_changes_from(before)) <= {name}
