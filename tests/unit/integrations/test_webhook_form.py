"""What is filled into the form of a webhook becomes its settings, and the other way round."""

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inbound.mapping import compile_webhook
from pipeline.integrations.reading_webhooks import read_webhook
from pipeline.integrations.webhook_form import (
    AttributeRow,
    WebhookDraft,
    draft_of,
    mistakes_of_draft,
    read_draft,
    sample_of,
    settings_of_draft,
)
from pipeline.integrations.webhook_trial import example_command, made_up_payload, try_sample

NAMES = st.text('abcdefghij .[]"', min_size=1, max_size=8).map(str.strip).filter(bool)
SETTINGS = st.fixed_dictionaries(
    {
        "enabled": st.booleans(),
        "attributes": st.dictionaries(NAMES, NAMES, max_size=5),
        "identify": st.fixed_dictionaries({"by": st.sampled_from(["user_id", "email"]), "field": NAMES}),
        "name": NAMES,
        "event": NAMES,
        "application": NAMES,
    },
    optional={"platform": NAMES, "id": NAMES, "sample": NAMES},
)


def submitted(draft: WebhookDraft) -> dict[str, str]:
    """What a browser sends of the form."""
    fields = dict(draft.texts)
    for number, row in enumerate(draft.rows):
        fields |= {f"row.{number}.attribute": row.attribute, f"row.{number}.path": row.path}
    return fields | ({"enabled": "true"} if draft.is_enabled else {})


@given(SETTINGS)
def test_settings_go_through_the_form_unchanged(settings: dict[str, Any]) -> None:
    draft = draft_of(settings).with_spare_rows()

    assert settings_of_draft(read_draft(submitted(draft))) == (settings, [])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "y"])), max_size=6))
def test_rows_are_all_used_or_all_told(pairs: list[tuple[str, str]]) -> None:
    draft = WebhookDraft(rows=tuple(AttributeRow(name, path) for name, path in pairs))
    settings, problems = settings_of_draft(draft)

    assert len(settings["attributes"]) + len(problems) == len(pairs)


def test_what_is_wrong_with_an_attribute_is_told_beside_its_row() -> None:
    draft = WebhookDraft(rows=(AttributeRow("a", "x"), AttributeRow("b.c", "[")))
    found = mistakes_of_draft(draft, [("attributes.b.c", "is no path"), ("secret", "is missing")])

    assert (dict(found.by_input), found.elsewhere) == ({"row.1.path": ("is no path",)}, (("secret", "is missing"),))


def test_rows_come_in_the_order_of_their_numbers() -> None:
    draft = read_draft({"row.10.path": "b", "row.9.path": "a", "row.x.path": "c", "row.99999.path": "d"})

    assert [row.path for row in draft.rows] == ["a", "b"]


@pytest.mark.parametrize("text", ["{", "[1]", "5", '{"a": 1}x', "\ud800", '{"a":' * 5000])
def test_a_sample_that_cannot_be_used_says_why(text: str) -> None:
    sample = sample_of(text)

    assert (bool(sample.problem), sample.fields) == (True, ())


def webhook(**more: Any) -> Any:
    base = {
        "id": "w", "name": "W", "event": "Bought", "application": "A", "secret": "s" * 20,
        "identify": {"by": "email", "field": "who"}, "attributes": {"total": "total", "sku": "items[0].sku"},
        "sample": '{"who": "jane@example.com", "total": 5}',
    }  # fmt: skip
    return read_webhook({**base, **more})


def test_the_event_of_a_sample_names_what_the_sample_lacks() -> None:
    trial = try_sample(webhook(), now_s=1_700_000_000)

    assert (trial.by, trial.identifier, "sku" in trial.problem, '"total": 5' in trial.event) == (
        "Email", "jane@example.com", True, True,
    )  # fmt: skip


@pytest.mark.parametrize("sample", ["", '{"who": null}', "{}", '{"who": ["a"]}'])
def test_a_sample_without_an_identifier_fires_nothing_and_says_why(sample: str) -> None:
    trial = try_sample(webhook(sample=sample), now_s=1_700_000_000)

    assert (trial.event, bool(trial.problem)) == ("", True)


def test_an_example_request_survives_the_shell() -> None:
    sample = '{"who": "it\'s $HOME `id` \\"quoted\\"", "n": 1}'
    command = example_command(
        "https://hooks.example/webhooks/w", "'Authorization: Bearer x'", sample_of(sample).payload
    )
    words = shlex.split(command.replace("\\\n", " "))

    assert sample_of(words[-1]).payload == sample_of(sample).payload
    assert words[:4] == ["curl", "-i", "https://hooks.example/webhooks/w", "-H"]


@pytest.mark.parametrize("field", ["who", "customer.email", "items[2].who", 'a["b.c"].d'])
def test_what_is_made_up_for_a_webhook_without_a_sample_says_whose_event_it_is(field: str) -> None:
    settings = webhook(identify={"by": "email", "field": field})

    assert compile_webhook(settings).identifier_of(made_up_payload(settings)) == "jane@example.com"
