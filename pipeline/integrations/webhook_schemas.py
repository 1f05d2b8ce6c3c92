"""JSON Schemas of what the API of webhooks takes and answers."""

from typing import Any, Final

from pipeline.inbound.settings import (
    IDENTIFY_LABELS,
    LONGEST_SECRET,
    LONGEST_WEBHOOK_NAME,
    SHORTEST_SECRET,
    WebhookSettings,
)
from pipeline.integrations.api_parts import COUNT, COUNTS, IMPORT_FATES, TEXT, Schema, listed, object_of, or_null, ref
from pipeline.integrations.secrets import KEEP

_REF: Final = "#/components/schemas/{model}"
_MADE_HERE: Final = frozenset({"id", "secret"})
_SECRET: Final = {"type": "string", "minLength": SHORTEST_SECRET, "maxLength": LONGEST_SECRET, "writeOnly": True}
_SHARPER: Final[dict[str, Schema]] = {
    "id": {"type": "string", "pattern": "^[a-z0-9-]{1,64}$"},
    "name": {"type": "string", "minLength": 1, "maxLength": LONGEST_WEBHOOK_NAME},
    "application": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    "secret": {"anyOf": [_SECRET, {"const": KEEP}]},
    "previous_secret": {"anyOf": [_SECRET, {"const": KEEP}, {"type": "null"}]},
    "previous_until": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
    "platform": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
}
"""What the settings' own schema does not say, since their validators do."""


def webhook_schemas() -> dict[str, Schema]:
    """All of them, by the names that the document refers to them by."""
    made = WebhookSettings.model_json_schema(by_alias=True, ref_template=_REF)
    parts: dict[str, Schema] = made.pop("$defs", {})
    made["properties"] = {key: {**each, **_SHARPER.get(key, {})} for key, each in made["properties"].items()}
    made["required"] = [key for key in made["required"] if key not in _MADE_HERE]
    made["description"] = (
        "A webhook as an entry of inbound.webhooks in faust.yml would hold it. Without an id one is made of its name; without a "
        f"secret one is made, or stays what it is, as with {KEEP} in its place."
    )
    for schema in (made, *parts.values()):
        _plain(schema)
    return {
        **parts,
        "WebhookSettings": made,
        "Webhook": _WEBHOOK,
        "Webhooks": listed({"webhooks": {"type": "array", "items": ref("Webhook")}}),
        "WebhookChanged": object_of({"message": TEXT, "webhook": ref("Webhook")}),
        "WebhookWithSecret": _WITH_SECRET,
        "RotateAsked": _ROTATE_ASKED,
        "ImportedWebhooks": _IMPORTED,
    }


def _plain(schema: Any) -> None:
    """Leave out titles, which repeat the keys, and defaults that only say that there is none."""
    schema.pop("title", None)
    for key, each in schema.get("properties", {}).items():
        each.pop("title", None)
        if each.get("default", "") is None:
            del each["default"]
        if "anyOf" in each and key in _SHARPER:
            each.pop("type", None)
            each.pop("format", None)
            each.pop("writeOnly", None)


_WEBHOOK: Final = object_of(
    {
        "id": TEXT,
        "name": TEXT,
        "event": TEXT,
        "application": TEXT,
        "identify_by": {"enum": [*IDENTIFY_LABELS]},
        "enabled": {"type": "boolean"},
        "origin": {"enum": ["file", "stored"], "description": "Those of faust.yml are read-only."},
        "url": or_null({"type": "string", "description": "Where it is called; null without a section inbound."}),
        "previous_until": or_null(
            {"type": "number", "description": "Until when the secret before the current one is taken, UNIX seconds."}
        ),
        "revision": or_null(COUNT),
        "changed_at": or_null({"type": "number", "description": "UNIX seconds."}),
        "changed_by": or_null(TEXT),
        "settings": {"type": "object", "description": f"As in faust.yml, with {KEEP} in place of secrets."},
    }
)
_WITH_SECRET: Final = object_of(
    {
        "message": TEXT,
        "webhook": ref("Webhook"),
        "secret": {"type": "string", "description": "Told here alone."},
        "authorization": {"type": "string", "description": "What callers send as Authorization."},
    }
)
_ROTATE_ASKED: Final = object_of(
    {
        "valid_for": {
            "type": "string",
            "description": "How long the secret until now stays valid, for example 24h (the default), 0s or 7d; at most 30d.",
        }
    },
    required=[],
) | {"additionalProperties": False}
_IMPORTED: Final = object_of(
    {
        "applied": {"type": "boolean"},
        "error": TEXT,
        "counts": COUNTS,
        "webhooks": {"type": "array", "items": object_of({"id": TEXT, **IMPORT_FATES})},
        "problems": {"type": "array", "items": object_of({"line": COUNT, "key": TEXT, "problem": TEXT})},
    },
    required=["applied", "counts", "webhooks", "problems"],
)
