from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import Settings
from pipeline.errors import CodecError, ConflictError, InvalidChangeError, NotFoundError
from pipeline.integrations import kept as keeping
from pipeline.integrations.audit import Actor, differences, entry_by
from pipeline.integrations.changes import ACTIONS, Change, Decided, changed_kinds, decide, missing_kinds, recorded
from pipeline.integrations.kept import Kept
from pipeline.integrations.reading import read_integration
from pipeline.integrations.secrets import KEEP
from pipeline.integrations.stored import KindRow, Stored, audit_key, encode_row, kind_key, parse_key, stored_key
from pipeline.model.section import Origin

ANA = Actor("ana", "admin", "10.1.2.3")
SETTINGS = Settings()


def http(name: str = "crm", **keys: Any) -> dict[str, Any]:
    return {"id": name, "kind": "http", "url": "https://crm.example/", "events": ["*"], "platforms": ["*"], **keys}


def applied(kept: Kept, action: Any, name: str = "crm", settings: Any = None, expected: int | None = None) -> Decided:
    """Decide, and take in what was decided as a reader of the changelog does."""
    decided = decide(Change(action, name, settings, expected), kept, SETTINGS, now_s=1000.0, actor=ANA)
    kept.take(decided.rows)
    return decided


def in_file(*names: str) -> list[Any]:
    return [read_integration(http(name), None) for name in names]


def test_a_change_and_its_audit_entry_are_one_group_under_one_revision() -> None:
    kept = Kept()
    made = applied(kept, "create", settings=http())
    assert [parse_key(key) for key, _ in made.rows] == [("i", "crm"), ("a", "000000000001"), ("k", "crm")]
    assert made.stored == Stored("crm", http(), 1, 1000.0, "ana")
    changed = applied(kept, "replace", settings=http(batch={"max_events": 7}), expected=1)
    assert changed.stored.revision == kept.revision == 2
    [newest, oldest] = kept.audit()
    assert (newest.who, newest.role, newest.address, newest.at) == ("ana", "admin", "10.1.2.3", 1000.0)
    assert (newest.what, newest.details) == ("integration replaced", {"batch.max_events": [None, 7]})
    assert (oldest.what, oldest.target) == ("integration created", "crm")


def test_what_changes_nothing_is_no_change() -> None:
    kept = Kept()
    applied(kept, "create", settings=http())
    assert applied(kept, "replace", settings=http()) == Decided([], None, kept.stored["crm"])
    applied(kept, "disable")
    assert applied(kept, "disable").rows == []
    assert kept.revision == 2


@pytest.mark.parametrize("action", ["replace", "enable", "disable", "delete"])
def test_what_is_not_there_is_not_found(action: str) -> None:
    with pytest.raises(NotFoundError, match="there is no integration crm"):
        applied(Kept(), action, settings=http())


def test_an_id_is_made_once() -> None:
    kept = Kept()
    applied(kept, "create", settings=http())
    with pytest.raises(ConflictError, match="already") as error:
        applied(kept, "create", settings=http())
    assert error.value.status == 409


def test_whoever_has_seen_an_older_revision_is_told_who_changed_it() -> None:
    kept = Kept()
    applied(kept, "create", settings=http())
    applied(kept, "disable")
    with pytest.raises(ConflictError, match=r"changed meanwhile, by ana: it is at revision 2, not 1") as error:
        applied(kept, "delete", expected=1)
    assert error.value.status == 412


@pytest.mark.parametrize("action", ACTIONS)
def test_integrations_of_the_file_are_read_only(action: str) -> None:
    with pytest.raises(ConflictError, match=r"faust\.yml, which is read-only") as error:
        applied(Kept(in_file("crm")), action, settings=http())
    assert error.value.status == 409


def test_a_stored_one_that_the_file_hides_can_be_deleted_and_not_changed() -> None:
    kept = Kept(in_file("crm"))
    kept.take([(stored_key("crm"), encode_row(Stored("crm", http(enabled=False), 1, 1.0, "ana")))])
    entry = kept.snapshot().get("crm")
    assert entry is not None
    assert (entry.origin, entry.integration.enabled, entry.stored is not None) == ("file", True, True)
    with pytest.raises(ConflictError):
        applied(kept, "enable")
    applied(kept, "delete")
    entry = kept.snapshot().get("crm")
    assert entry is not None
    assert entry.stored is None


def test_the_kind_of_an_id_never_changes_not_even_after_it_was_deleted() -> None:
    grpc = {"id": "crm", "kind": "grpc", "url": "grpcs://crm.example", "events": ["*"], "platforms": ["*"]}
    kept = Kept()
    applied(kept, "create", settings=http())
    with pytest.raises(InvalidChangeError, match="kind: must be http: crm is of that kind"):
        applied(kept, "replace", settings=grpc)
    applied(kept, "delete")
    assert kept.snapshot().kind_of("crm") == "http"
    with pytest.raises(InvalidChangeError, match="kind: must be http: crm was of that kind"):
        applied(kept, "create", settings=grpc)


def test_the_kinds_of_the_files_integrations_are_written_down_once() -> None:
    kept = Kept(in_file("crm", "erp"))
    for group in missing_kinds(kept):
        kept.take(group)
    assert missing_kinds(kept) == []
    without_file = Kept()
    without_file.take([row for group in missing_kinds(Kept(in_file("crm"))) for row in group])
    assert without_file.snapshot().kind_of("crm") == "http"


def test_an_integration_of_the_file_keeps_its_kind_also_after_it_was_removed() -> None:
    kept = Kept()
    applied(kept, "create", "crm", http("crm"))
    applied(kept, "create", "erp", http("erp"))
    applied(kept, "delete", "erp")
    file = [read_integration(http(name, kind="grpc", url="grpcs://crm.example"), None) for name in ("crm", "erp")]
    later = Kept(file)
    later.take([(kind_key(name), encode_row(KindRow(kind))) for name, kind in kept.kinds.items()])
    assert changed_kinds(later) == [
        f"integration {name} is of kind grpc and was of kind http: an id keeps its kind. Make it http again, "
        "or give what is of kind grpc another id"
        for name in ("crm", "erp")
    ]
    assert missing_kinds(later) == [], "what it was is not forgotten"


def test_an_integration_of_the_file_that_is_new_or_of_the_same_kind_is_right() -> None:
    kept = Kept(in_file("crm", "erp"))
    kept.take([(kind_key("crm"), encode_row(KindRow("http")))])
    assert changed_kinds(kept) == []


def test_every_mistake_is_named_by_its_key() -> None:
    wrong = http(url="http://crm.example/", batch={"max_events": 0, "max_age": 5}, colour="red", tls={"ca": "ca.pem"})
    with pytest.raises(InvalidChangeError) as error:
        applied(Kept(), "create", settings=wrong)
    assert {key for key, _ in error.value.problems} == {
        "url",
        "batch.max_events",
        "batch.max_age",
        "colour",
        "tls.ca",
    }


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (None, ""),
        ({"id": "crm"}, "kind"),
        ({"id": "crm", "kind": "htttp"}, "kind"),
        (http("erp"), "id"),
        (http(events=["x" * 500] * 2), ""),
        (http(url="https://crm.example/\ud800"), "url"),
    ],
)
def test_settings_that_cannot_be_name_the_key_at_fault(
    settings: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.integrations.deciding.MOST_BYTES", 600)
    with pytest.raises(InvalidChangeError) as error:
        applied(Kept(), "create", settings=settings)
    assert [each for each, _ in error.value.problems] == [key]


def test_a_secret_is_kept_where_nobody_changes_it_and_never_told() -> None:
    kept = Kept()
    applied(kept, "create", settings=http(authorization="Bearer one"))
    kept_one = applied(kept, "replace", settings=http(authorization=KEEP, timeout="5s"))
    assert kept_one.stored.settings["authorization"] == "Bearer one"
    applied(kept, "replace", settings=http(authorization="Bearer two"))
    assert kept.audit()[0].details == {"authorization": [KEEP, KEEP], "timeout": ["5s", None]}
    assert "Bearer" not in str(kept.audit())


def test_an_act_that_changes_nothing_has_its_place_among_the_changes() -> None:
    kept = Kept()
    applied(kept, "create", settings=http())
    rows, entry = recorded(entry_by(ANA, "batches replayed", "crm", {"batches": 3}, at=5.0), kept)
    kept.take(rows)
    assert entry.revision == kept.revision == 2
    assert kept.audit()[0] == entry


def test_the_oldest_entries_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.integrations.deciding.MOST_AUDITED", 3)
    kept = Kept()
    applied(kept, "create", settings=http())
    for _ in range(4):
        applied(kept, "disable")
        applied(kept, "enable")
    assert [entry.revision for entry in kept.audit()] == [9, 8, 7]
    assert keeping.MOST_AUDITED > 1000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"x/crm", b"{}"),
        (b"\xff", b""),
        (b"a/1x", b"{}"),
        (stored_key("crm"), b"not json"),
        (stored_key("crm"), b'{"id":"crm","settings":{},"revision":1,"changed_at":1,"changed_by":"a","version":2}'),
    ],
)
def test_rows_that_this_version_does_not_know_end_the_worker(key: bytes, value: bytes) -> None:
    with pytest.raises(CodecError):
        Kept().take([(key, value)])


def test_a_stored_integration_that_this_version_cannot_read_ends_the_worker() -> None:
    kept = Kept()
    kept.take([(stored_key("crm"), encode_row(Stored("crm", http(of_tomorrow=1), 1, 1.0, "ana")))])
    with pytest.raises(CodecError, match="same version on all workers"):
        kept.snapshot()


def test_hostile_names_become_text_that_can_be_stored() -> None:
    entry = entry_by(Actor("\ud800" * 300, "admin"), "x", "y", {}, at=1.0, revision=1)
    assert entry.who == "?" * 200
    assert Kept().take([(audit_key(1), encode_row(entry))]) is None


def test_durations_need_their_unit_as_in_the_file() -> None:
    read = read_integration(http(timeout="5s"), None)
    assert read == type(read).model_validate(http(timeout="5s"), context=Origin.FILE)
    with pytest.raises(InvalidChangeError, match="timeout"):
        read_integration(http(timeout=5), None)


actions = st.tuples(
    st.sampled_from(ACTIONS), st.sampled_from(["a", "b", "f"]), st.booleans(), st.sampled_from([None, 0, 1, 2, 3])
)


@given(st.lists(actions, max_size=12))
def test_whatever_is_asked_the_snapshot_is_what_the_accepted_changes_say(asked: list[Any]) -> None:
    kept, expected, revision = Kept(in_file("f")), {"f": True}, 0
    revisions: dict[str, int] = {}
    for action, name, is_enabled, seen in asked:
        settings = http(name, enabled=is_enabled) if action in ("create", "replace") else None
        exists = name in revisions
        is_accepted = name != "f" and exists == (action != "create") and seen in (None, revisions.get(name, 0))
        before = kept.snapshot()
        if not is_accepted:
            with pytest.raises((ConflictError, NotFoundError)):
                applied(kept, action, name, settings, seen)
            assert kept.snapshot().changes_from(before) == {}
            continue
        wanted = {"enable": True, "disable": False}.get(action, is_enabled)
        if applied(kept, action, name, settings, seen).rows:
            revision += 1
            revisions[name] = revision
        expected[name] = wanted
        if action == "delete":
            del expected[name], revisions[name]
        assert kept.revision == kept.snapshot().revision == revision
        assert {entry.integration.id: entry.integration.enabled for entry in kept.snapshot()} == expected
        assert set(kept.snapshot().changes_from(before)) <= {name}


def test_differences_tell_both_sides_of_each_key() -> None:
    assert differences(http(), None)["url"] == ["https://crm.example/", None]
    assert differences(http(batch={"max_age": "1h"}), http(batch={"max_age": "2h"})) == {"batch.max_age": ["1h", "2h"]}
