from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.load import load
from pipeline.config.schema import Outbound
from pipeline.integrations.reading import read_integration
from pipeline.integrations.secrets import KEEP
from pipeline.integrations.written import settings_of
from pipeline.integrations.yaml_reading import Fate, ImportPlan, Known
from pipeline.integrations.yaml_text import LONGEST_BYTES, export_yaml, plan_import
from pipeline.model.integration import Integration

CRM: dict[str, Any] = {
    "id": "crm",
    "kind": "http",
    "url": "https://crm.example/events?key=hush-url",
    "authorization": "Bearer hush-token",
    "events": ["Email Sent"],
    "platforms": ["*"],
    "batch": {"max_age": "90m"},
    "signing": {"secrets": ["whsec_" + "A" * 32]},
}
SEGMENT: dict[str, Any] = {"id": "1-seg", "kind": "segment", "write_key": "hush-key", "region": "eu"}
XTREMEPUSH: dict[str, Any] = {
    "id": "xp",
    "kind": "xtremepush",
    "url": "https://xp.example/",
    "channels": ["*"],
    "auth": {"type": "basic", "username": "${not a variable}", "password": "hush-word"},
}
ALL = [CRM, SEGMENT, XTREMEPUSH]


def read(data: Any) -> Integration:
    return read_integration(data, Outbound())


def known(*stored: dict[str, Any], is_read_only: bool = False) -> dict[str, Known]:
    return {each["id"]: Known(read(each), each, 7, is_read_only) for each in stored}


def plan(text: str, *stored: dict[str, Any], **variables: str) -> ImportPlan:
    return plan_import(text, variables, known(*stored).get, read)


def exported(*stored: dict[str, Any]) -> str:
    return "".join(export_yaml(stored))


def test_no_secret_is_in_an_export() -> None:
    assert "hush" not in exported(*ALL)
    assert "whsec_" not in exported(*ALL)


def test_an_export_is_a_configuration_once_its_variables_are_set(tmp_path: Path) -> None:
    file = tmp_path / "faust.yml"
    file.write_text(exported(*ALL))
    environment = {
        "CRM_URL_QUERY": "key=hush-url",
        "CRM_AUTHORIZATION": "Bearer hush-token",
        "CRM_SIGNING_SECRETS_1": "whsec_" + "A" * 32,
        "INTEGRATION_1_SEG_WRITE_KEY": "hush-key",
        "XP_AUTH_PASSWORD": "hush-word",
    }

    assert load(file, environment).integrations == tuple(map(read, ALL))


def test_an_export_names_the_variables_that_it_needs() -> None:
    assert "# needs ${CRM_URL_QUERY}, ${CRM_AUTHORIZATION}, ${CRM_SIGNING_SECRETS_1}\n" in exported(CRM)


def test_two_integrations_never_share_a_variable() -> None:
    basic = XTREMEPUSH | {"id": "a-auth", "authorization": None}
    text = exported(
        {**CRM, "id": "a", "signing": None, "url": "https://a.example/"}, {**basic, "id": "a-authorization"}
    )
    twice = exported(
        {"id": "a-b", "kind": "segment", "write_key": "x"}, {"id": "a", "kind": "segment", "b_write_key": 1}
    )

    assert "${A_AUTHORIZATION}" in text
    assert twice.count("${A_B_WRITE_KEY}") == 2  # in its comment, and in its place


def test_an_export_of_nothing_is_a_configuration_too(tmp_path: Path) -> None:
    file = tmp_path / "faust.yml"
    file.write_text(exported())

    assert load(file, {}).integrations == ()


def test_what_was_exported_changes_nothing_when_it_is_imported() -> None:
    found = plan(exported(*ALL), *ALL)

    assert not found.mistakes
    assert [each.fate for each in found.entries] == [Fate.SAME] * 3


def test_secrets_without_a_value_keep_what_is_stored() -> None:
    found = plan(exported(*ALL).replace("90m", "2h"), *ALL)

    assert [dict(each.settings) for each in found.entries if each.fate is Fate.REPLACE] == [
        CRM | {"batch": {"max_age": "2h"}}
    ]


def test_a_replacement_says_what_changes_and_at_which_revision() -> None:
    found = plan(exported(CRM).replace("90m", "2h"), CRM)

    (each,) = found.entries
    assert (each.fate, each.revision, each.differences) == (Fate.REPLACE, 7, (("batch.max_age", "90m", "2h"),))


def test_a_changed_secret_is_told_but_not_shown() -> None:
    found = plan(exported(CRM), CRM, CRM_AUTHORIZATION="Bearer other")

    assert found.entries[0].differences == (("authorization", KEEP, KEEP),)
    assert found.entries[0].settings["authorization"] == "Bearer other"


def test_a_new_integration_is_created() -> None:
    found = plan("- {id: mail, kind: email, url: 'https://mail.example/'}")

    assert [(each.id, each.fate, each.line) for each in found.entries] == [("mail", Fate.CREATE, 1)]


def test_an_integration_may_stand_alone() -> None:
    assert plan("id: mail\nkind: email\nurl: https://mail.example/\n").count(Fate.CREATE) == 1


def test_of_a_whole_configuration_only_the_integrations_are_read() -> None:
    text = "app: other\nbroker: nonsense\nintegrations:\n- {id: mail, kind: email, url: 'https://mail.example/'}\n"

    assert not plan(text).mistakes


def test_every_mistake_is_told_at_once_with_its_line() -> None:
    text = """integrations:
- id: crm
  kind: htp
- id: mail
  kind: email
  url: ftp://mail.example
  timeout: 30
  bogus: 1
- id: mail
  kind: email
  url: https://mail.example
- just text
"""
    found = plan(text)

    assert [(mistake.line, mistake.key) for mistake in found.mistakes] == [
        (3, "integrations.0.kind"),
        (6, "integrations.1.url"),
        (7, "integrations.1.timeout"),
        (8, "integrations.1.bogus"),
        (9, "integrations.2.id"),
        (12, "integrations.3"),
    ]
    assert found.count(Fate.REFUSED) == 4


def test_integrations_of_the_file_are_refused() -> None:
    found = plan_import(exported(CRM), {}, known(CRM, is_read_only=True).get, read)

    assert found.entries[0].fate is Fate.REFUSED
    assert "can only be changed there" in found.mistakes[0].problem


def test_a_kind_cannot_change() -> None:
    found = plan("id: crm\nkind: email\nurl: https://mail.example/\n", CRM)

    assert found.mistakes[0][:2] == (2, "kind")


def test_a_variable_without_a_value_is_a_mistake_where_nothing_is_stored() -> None:
    found = plan(exported(CRM))

    assert {mistake.key for mistake in found.mistakes} == {
        "integrations.0.url",
        "integrations.0.authorization",
        "integrations.0.signing.secrets.0",
    }


def test_the_environment_of_the_worker_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_SECRET", "hush")

    found = plan("id: mail\nkind: email\nurl: https://mail.example/${WORKER_SECRET}\n", CRM)

    assert "WORKER_SECRET has no value here" in found.mistakes[0].problem


def test_given_variables_are_not_shown_in_mistakes() -> None:
    found = plan("id: mail\nkind: email\nurl: ${ADDRESS}\ntimeout: ${LONG}\n", ADDRESS="ftp://hush", LONG="hush-hush")

    assert len(found.mistakes) == 2
    assert "hush" not in str(found.mistakes)


def test_a_text_that_is_too_long_is_refused() -> None:
    assert "import it in parts" in plan("#" * (LONGEST_BYTES + 1)).mistakes[0].problem


@pytest.mark.parametrize(
    "text", ["", "just text", "7", "[]]", "\x00", "a: &a [*a]", "!!python/object:os.system {}", "{a: 1}"]
)
def test_what_is_no_list_of_integrations_is_said_to_be_none(text: str) -> None:
    found = plan(text)

    assert found.mistakes
    assert not found.entries


@settings(deadline=None)
@given(st.text())
def test_no_text_breaks_the_import(text: str) -> None:
    assert isinstance(plan(text, CRM), ImportPlan)


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Co", "Cn", "Cf", "Zl", "Zp")), min_size=1))
def test_any_text_of_a_setting_survives_export_and_import(text: str) -> None:
    code = text.strip()
    if not code or code == "*" or not code.isprintable():
        return
    original = {**SEGMENT, "campaigns": [code], "write_key": "k"}

    found = plan(exported(original), original)

    assert [each.fate for each in found.entries] == [Fate.SAME]
    assert yaml.safe_load(exported(original))["integrations"][0]["id"] == "1-seg"


def test_what_a_file_gave_can_be_exported() -> None:
    assert plan(exported(settings_of(read(CRM))), CRM).count(Fate.SAME) == 1
