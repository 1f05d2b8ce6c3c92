"""Webhooks as well-known services publish them: each is pasted, mapped, received and read as an event of ours."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline.inbound.event import fire
from pipeline.inbound.mapping import CompiledWebhook, compile_webhook
from pipeline.inbound.outcome import Outcome
from pipeline.inbound.path import parse_path, paths_of, pick
from pipeline.inbound.payload import Refused, read_payload
from pipeline.inbound.settings import read_sample
from pipeline.ingest.decode import EventDecoder
from tests.support.inbound_webhook import webhook

SAMPLES = Path(__file__).parents[2] / "data" / "webhook_samples"
MAX_DEPTH = 32


class Case(NamedTuple):
    """How somebody would set up a webhook for a sample, and what its event then says."""

    sample: str
    by: str
    field: str
    identifier: str
    attributes: dict[str, str]
    expected: dict[str, Any]


CASES = [
    Case(
        "github_issues_opened",
        "user_id",
        "issue.user.id",
        "21031067",
        {"title": "issue.title", "labels": "issue.labels[*].name", "thumbs_up": "issue.reactions.+1"},
        {"title": "Spelling error in the README file", "labels": ["bug"], "thumbs_up": 0},
    ),
    Case(
        "github_push",
        "email",
        "pusher.email",
        "21031067+codertocat@users.noreply.github.com",
        {
            "branch": "ref",
            "messages": "commits[*].message",
            "files": "commits[*].added[*]",
            "first": "commits[0].message",
        },
        {
            "branch": "refs/heads/master",
            "messages": ["Initial commit"],
            "files": ["README.md"],
            "first": "Initial commit",
        },
    ),
    Case(
        "github_security_advisory_published",
        "user_id",
        "security_advisory.ghsa_id",
        "GHSA-rf4j-j272-fj86",
        {"packages": "security_advisory.vulnerabilities[*].package.name", "severity": "security_advisory.severity"},
        {"packages": ["django", "django"], "severity": "moderate"},
    ),
    Case(
        "github_sponsorship_created",
        "user_id",
        "sponsorship.sponsor.id",
        "2",
        {"tier": "sponsorship.tier.name", "price": "sponsorship.tier.monthly_price_in_dollars"},
        {"tier": "$5 a month", "price": 5},
    ),
    Case(
        "gitlab_access_token_expiring",
        "user_id",
        "object_attributes.user_id",
        "90",
        {"token": "object_attributes.name", "group": "group.full_path"},
        {"token": "acd", "group": "twitter"},
    ),
    Case(
        "shopify_customers_create",
        "phone",
        "default_address.phone",
        "5555555555",
        {"is_verified": "verified_email", "note": "note"},
        {"is_verified": True, "note": "This customer loves ice cream"},
    ),
    Case(
        "shopify_orders_create",
        "email",
        "customer.email",
        "john@example.com",
        {"order": "id", "total": "total_price", "skus": "line_items[*].sku", "phone": "customer.phone"},
        {
            "order": 820982911946154500,
            "total": "404.95",
            "skus": ["SKU2006-001", "LENS-PROTECT-2YR", "CASE-LEATHER-PREM", "SKU2006-020", "SKU2006-035"],
        },
    ),
    Case(
        "stripe_checkout_session_completed",
        "email",
        "data.object.customer_details.email",
        "example@example.com",
        {"session": "data.object.id", "total": "data.object.amount_total"},
        {"session": "cs_test_a1YS1URlnyQCN5fUUduORoQ7Pw41PJqDWkIVQCpJPqkfIhd6tVY8XB1OLY"},
    ),
    Case(
        "stripe_plan_created",
        "hwid",
        "data.object.product",
        "prod_QXg1hqf4jFNsqG",
        {"amount": "data.object.amount", "interval": "data.object.interval", "metadata": "data.object.metadata"},
        {"amount": 2000, "interval": "month", "metadata": {}},
    ),
]


def text_of(sample: str) -> str:
    return (SAMPLES / f"{sample}.json").read_text(encoding="utf-8")


def set_up(case: Case) -> CompiledWebhook:
    identify = {"by": case.by, "field": case.field}
    return compile_webhook(webhook(identify=identify, attributes=case.attributes, sample=text_of(case.sample)))


each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.sample)
each_sample = pytest.mark.parametrize("sample", sorted(path.stem for path in SAMPLES.glob("*.json")))


@each_case
def test_every_mapped_field_is_one_that_the_form_offers(case: Case) -> None:
    offered = {field.path for field in paths_of(read_sample(text_of(case.sample)))}

    assert {case.field, *case.attributes.values()} <= offered


@each_case
def test_its_user_is_found_in_the_payload(case: Case) -> None:
    payload = read_payload(text_of(case.sample).encode(), MAX_DEPTH)

    assert set_up(case).identifier_of(payload) == case.identifier


@each_case
def test_it_fires_an_event_that_the_pipeline_reads(case: Case) -> None:
    compiled = set_up(case)
    payload = read_payload(text_of(case.sample).encode(), MAX_DEPTH)
    identifier = compiled.identifier_of(payload)
    uuid, encoded = fire(compiled, payload, "request", identifier=identifier, timestamp_s=1_800_000_000)

    event, _ = EventDecoder("inbound", 0).decode(encoded, 0)

    assert (event.event_name, event.application_code, event.uuid) == ("CheckoutSuccess", "32E5A-9B411", uuid)
    assert case.identifier in {event.user_id, event.email, event.hwid}
    assert json.loads(encoded)["attributes"] == case.expected | {"__webhook": "orders"}


@each_sample
def test_every_field_of_a_sample_can_be_picked(sample: str) -> None:
    payload = read_sample(text_of(sample))
    fields = paths_of(payload)

    assert [pick(payload, parse_path(field.path)) for field in fields] == [field.value for field in fields]


def test_a_customer_without_an_address_fires_nothing() -> None:
    compiled = compile_webhook(webhook(identify={"by": "email", "field": "data.object.email"}))
    payload = read_payload(text_of("stripe_customer_created").encode(), MAX_DEPTH)

    with pytest.raises(Refused) as caught:
        compiled.identifier_of(payload)

    assert (caught.value.outcome, caught.value.detail) == (
        Outcome.IDENTIFIER_MISSING,
        "data.object.email is null, not text",
    )


@each_sample
def test_a_sample_has_its_source_and_licence_named(sample: str) -> None:
    service = sample.partition("_")[0]

    assert f"| `{service}_*.json` |" in (SAMPLES / "README.md").read_text(encoding="utf-8")
