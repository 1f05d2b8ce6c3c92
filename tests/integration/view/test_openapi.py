"""What the document promises holds: every operation of the API is fuzzed from it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipeline.config.describe import keys_of
from pipeline.inbound.settings import WebhookSettings
from pipeline.integrations.openapi import DOCUMENT, INTEGRATIONS, document
from pipeline.integrations.webhook_operations import WEBHOOKS
from pipeline.view.settings import Token, ViewSettings
from tests.integration.view.conftest import Serve
from tests.support.kept_integrations import Desk

ADMIN = "adm-admin-token-12345"
TOKENS = ViewSettings(tokens=[Token(name="adm", role="admin", token=ADMIN)])
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 25
WEBHOOK = {
    "id": "of-file",
    "name": "Of the file",
    "event": "Paid",
    "application": "A",
    "identify": {"by": "email", "field": "email"},
    "secret": "secret-of-the-file",
}


async def found_at(url: str) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {ADMIN}"}) as session,
        session.get(url + DOCUMENT) as answer,
    ):
        found: dict[str, Any] = await answer.json()
        return found


def operations(schema: Any) -> Iterator[Any]:
    return (each.ok() for each in schema.get_all_operations())


def fuzz(found: dict[str, Any], url: str) -> list[str]:
    """Ask each operation what its schemas allow; the names of those asked."""
    schema = schemathesis.openapi.from_dict(found)
    asked = []
    for operation in operations(schema):
        asked.append(operation.label)

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[*HealthCheck])
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            case.call_and_validate(
                base_url=url, headers={"Authorization": f"Bearer {ADMIN}"}, checks=CHECKS, timeout=60
            )

        ask()
    return asked


@pytest.mark.slow
async def test_every_operation_answers_as_the_document_says(serve: Serve) -> None:
    # Plain http is not permitted, and no address is public: what is tried leads nowhere.
    in_file = {"id": "of-file", "kind": "email", "url": "https://mail.invalid/"}
    desk = Desk(in_file, inbound={"webhooks": [WEBHOOK]}, allow_networks=[], allow_http=False)
    served = await serve(TOKENS, desk.register)
    found = await found_at(served.url)

    asked = await asyncio.to_thread(fuzz, found, served.url)

    assert {f"PUT {INTEGRATIONS}/{{id}}", f"POST {WEBHOOKS}/{{id}}/rotate"} <= {*asked}


def test_a_webhook_of_the_document_is_one_that_can_be_made() -> None:
    schema = document([], needs_sign_in=False)["components"]["schemas"]

    assert {*schema["WebhookSettings"]["properties"]} == {*keys_of(WebhookSettings)}
    assert schema["WebhookSettings"]["required"] == ["name", "event", "application", "identify"]
    assert schema["WebhookSettings"]["properties"]["identify"]["$ref"] == "#/components/schemas/Identify"


async def test_every_page_is_in_the_document_as_json(serve: Serve) -> None:
    served = await serve(TOKENS, Desk().register)
    found = await found_at(served.url)

    for route in served.view.routes:
        if route.kind == "page":
            assert "get" in found["paths"][f"{route.path}.json"]


def test_no_two_operations_have_the_same_name() -> None:
    ids = [each["operationId"] for path in document([], needs_sign_in=True)["paths"].values() for each in path.values()]

    assert len(ids) == len(set(ids))
