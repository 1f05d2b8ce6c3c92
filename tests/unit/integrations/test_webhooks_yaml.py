import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.config.load import load
from pipeline.config.tree import Tree
from pipeline.integrations.families import WEBHOOKS
from pipeline.integrations.reading_webhooks import read_webhook
from pipeline.integrations.secrets import KEEP
from pipeline.integrations.written import settings_of
from pipeline.integrations.yaml_reading import Fate, ImportPlan, Known
from pipeline.integrations.yaml_text import export_yaml, plan_import

SAMPLE = '{\n  "customer": {"email": "jane@example.com"},\n\n  "price": "${not a variable}"\n}\n'
ORDERS: dict[str, Any] = {
    "id": "orders",
    "name": "Orders",
    "event": "OrderPlaced",
    "application": "32E5A-9B411",
    "identify": {"by": "email", "field": "customer.email"},
    "attributes": {"skus": "items[*].sku", 'the "total"': '["order.price"].value'},
    "sample": SAMPLE,
    "secret": "hush-secret-000001",
    "previous_secret": "hush-secret-000000",
    "previous_until": "2027-01-31T12:00:00Z",
}
REFUNDS = {key: value for key, value in ORDERS.items() if not key.startswith("previous")} | {"id": "1-refunds"}
ENVIRONMENT = {
    "ORDERS_SECRET": "hush-secret-000001",
    "ORDERS_PREVIOUS_SECRET": "hush-secret-000000",
    "WEBHOOK_1_REFUNDS_SECRET": "hush-secret-000001",
}


def plan(text: str, *stored: dict[str, Any], is_read_only: bool = False, **variables: str) -> ImportPlan:
    known = {each["id"]: Known(read_webhook(each), each, 7, is_read_only) for each in stored}
    return plan_import(text, variables, known.get, read_webhook, WEBHOOKS)


def exported(*stored: dict[str, Any]) -> str:
    return "".join(export_yaml(stored, WEBHOOKS))


def test_no_secret_is_in_an_export() -> None:
    assert "hush" not in exported(ORDERS, REFUNDS)


def test_an_export_is_a_configuration_once_its_variables_are_set(tmp_path: Path) -> None:
    file = tmp_path / "faust.yml"
    file.write_text(exported(ORDERS, REFUNDS))
    inbound = load(file, ENVIRONMENT).inbound
    assert inbound is not None
    assert inbound.webhooks == tuple(map(read_webhook, (ORDERS, REFUNDS)))
    assert "    # needs ${ORDERS_SECRET}, ${ORDERS_PREVIOUS_SECRET}\n" in exported(ORDERS)


def test_an_export_of_nothing_is_a_configuration_too(tmp_path: Path) -> None:
    file = tmp_path / "faust.yml"
    file.write_text(exported())
    inbound = load(file, {}).inbound
    assert inbound is not None
    assert not inbound.webhooks


def test_a_sample_is_exported_as_it_was_pasted() -> None:
    assert '      "customer": {"email": "jane@example.com"},\n' in exported(ORDERS)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4), st.sampled_from([None, 1]))
@example({"a": "\x85b\u2028 c\u2029", "\ufeff": "\r"}, 1)
def test_whatever_a_sample_holds_it_comes_back(sample: dict[str, str], indent: int | None) -> None:
    text = json.dumps(sample, ensure_ascii=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    entry = Tree(exported(ORDERS | {"sample": text}), ENVIRONMENT).data["inbound"]["webhooks"][0]
    assert entry["sample"] == text


def test_what_was_exported_changes_nothing_when_it_is_imported() -> None:
    found = plan(exported(ORDERS, REFUNDS), ORDERS, REFUNDS)
    assert not found.mistakes
    assert [each.fate for each in found.entries] == [Fate.SAME] * 2


def test_secrets_without_a_value_keep_what_is_stored() -> None:
    [each] = plan(exported(ORDERS).replace("OrderPlaced", "Paid"), ORDERS).entries
    assert (each.fate, dict(each.settings), each.revision) == (Fate.REPLACE, ORDERS | {"event": "Paid"}, 7)
    assert each.differences == (("event", "OrderPlaced", "Paid"),)


def test_a_changed_secret_is_told_but_not_shown() -> None:
    [each] = plan(exported(REFUNDS), REFUNDS, WEBHOOK_1_REFUNDS_SECRET="hush-secret-000002").entries
    assert each.differences == (("secret", KEEP, KEEP),)


def test_a_new_webhook_brings_its_secret_along() -> None:
    unset = plan(exported(REFUNDS))
    absent = plan(exported({key: value for key, value in REFUNDS.items() if key != "secret"}))
    given_one = plan(exported(REFUNDS), WEBHOOK_1_REFUNDS_SECRET="hush-secret-000002")
    assert [mistake.key for mistake in (*unset.mistakes, *absent.mistakes)] == ["inbound.webhooks.0.secret"] * 2
    assert [each.fate for each in given_one.entries] == [Fate.CREATE]


@pytest.mark.parametrize(
    "text",
    [
        "{id: orders, event: Paid}",
        "- {id: orders, event: Paid}",
        "inbound: {webhooks: [{id: orders, event: Paid}]}",
        "app: x\nintegrations: []\ninbound:\n  port: 7000\n  webhooks:\n    - {id: orders, event: Paid}",
    ],
)
def test_one_alone_a_list_a_part_and_a_whole_file_are_taken(text: str) -> None:
    rest = {key: value for key, value in ORDERS.items() if key not in ("id", "event", "sample")}
    whole = text.replace("event: Paid", f"event: Paid, {json.dumps(rest)[1:-1]}")
    assert [each.fate for each in plan(whole, ORDERS).entries] == [Fate.REPLACE]


def test_mistakes_are_told_by_line() -> None:
    found = plan("- {id: orders}\n- {id: orders}\n- 5\n", ORDERS, is_read_only=False)
    assert [(mistake.line, mistake.key) for mistake in found.mistakes if mistake.line > 1] == [(2, "1.id"), (3, "2")]
    assert {mistake.key for mistake in found.mistakes if mistake.line == 1} == {
        f"0.{key}" for key in ("name", "event", "application", "identify")
    }


def test_those_of_the_file_are_read_only() -> None:
    [mistake] = plan(exported(ORDERS), ORDERS, is_read_only=True).mistakes
    assert mistake.problem == "is a webhook of faust.yml, which can only be changed there"


@pytest.mark.parametrize(
    ("text", "problem"), [("", "is empty"), ("app: x", "under inbound: webhooks:"), ("inbound: 5", "list")]
)
def test_a_text_that_holds_none_is_a_mistake(text: str, problem: str) -> None:
    [mistake] = plan(text).mistakes
    assert problem in mistake.problem


def test_settings_that_are_written_out_make_the_same_webhook() -> None:
    webhook = read_webhook(ORDERS)
    assert read_webhook(settings_of(webhook)) == webhook
