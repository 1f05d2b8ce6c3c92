"""What the API of webhooks takes and answers, operation by operation."""

from typing import Any, Final

from pipeline.integrations.api_answers import JSON, OF_PAGES, WRONG, YAML, answer, if_match
from pipeline.integrations.api_parts import ref

WEBHOOKS: Final = "/api/v1/webhooks"


def webhook_operations() -> dict[tuple[str, str], dict[str, Any]]:
    """By method and path: parameters, bodies, answers, and statuses of errors."""
    one = f"{WEBHOOKS}/{{id}}"
    settings = {JSON: {"schema": ref("WebhookSettings")}}
    seen = if_match("webhook")
    changed = {"200": answer("As it is now.", ref("WebhookChanged"), tag=True)}
    imported = {
        status: answer(words, ref("ImportedWebhooks"))
        for status, words in (
            ("200", "What would be done, or was."),
            ("409", "Some could not be changed."),
            ("422", WRONG),
        )
    }
    return {
        ("GET", WEBHOOKS): {
            "parameters": OF_PAGES,
            "responses": {"200": answer("A page of them.", ref("Webhooks"))},
        },
        ("POST", WEBHOOKS): {
            "body": settings,
            "responses": {"201": answer("As it was made.", ref("WebhookWithSecret"), tag=True, location=True)},
            "errors": ("409", "422"),
        },
        ("GET", one): {"responses": {"200": answer("The webhook.", ref("Webhook"), tag=True)}},
        ("PUT", one): {
            "parameters": [seen],
            "body": settings,
            "responses": changed,
            "errors": ("409", "412", "422", "428"),
        },
        ("DELETE", one): {
            "parameters": [seen],
            "responses": {"204": {"description": "It is removed."}},
            "errors": ("409", "412", "428"),
        },
        **{
            ("POST", f"{one}/{word}"): {
                "parameters": [seen],
                "responses": changed,
                "errors": ("409", "412", "422"),
            }
            for word in ("enable", "disable")
        },
        ("POST", f"{one}/rotate"): {
            "parameters": [seen],
            "body": {JSON: {"schema": ref("RotateAsked")}},
            "needs_body": False,
            "responses": {"200": answer("As it is now.", ref("WebhookWithSecret"), tag=True)},
            "errors": ("409", "412", "422"),
        },
        ("GET", f"{WEBHOOKS}.yaml"): {
            "parameters": [
                {"name": "id", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}, "explode": True}
            ],
            "responses": {
                "200": {"description": "A part of faust.yml.", "content": {YAML: {"schema": {"type": "object"}}}}
            },
        },
        ("POST", f"{WEBHOOKS}/import"): {
            "parameters": [{"name": "dry_run", "in": "query", "schema": {"type": "boolean"}}],
            "body": {JSON: {"schema": ref("ImportAsked")}, YAML: {"schema": {}}},
            "responses": imported,
        },
    }
