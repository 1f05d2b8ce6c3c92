"""JSON Schemas of what the view's API takes and answers, from the forms of the kinds and from the types."""

from typing import Final

import msgspec

from pipeline.doctor.step import Examination
from pipeline.integrations.api_parts import COUNT, COUNTS, IMPORT_FATES, TEXT, Schema, listed, object_of, or_null, ref
from pipeline.integrations.form import FieldType, FormField, FormGroup, FormSpec, form_of
from pipeline.integrations.preview import Preview
from pipeline.integrations.secrets import KEEP
from pipeline.integrations.trial import Trial
from pipeline.integrations.webhook_schemas import webhook_schemas
from pipeline.sinks.registry import SINKS

_DURATION: Final = r"^ *[0-9]{1,15}(\.[0-9]{1,9})? ?(ms|s|m|h|d) *$"
_SIZE: Final = r"^ *[0-9]{1,15}(\.[0-9]{1,9})? ?[A-Za-z]{1,3} *$"


def schemas() -> dict[str, Schema]:
    """All schemas, by the names that the document refers to them by."""
    _, made = msgspec.json.schema_components([Examination, Trial, Preview], ref_template="#/components/schemas/{name}")
    settings = {f"{spec.kind.capitalize()}Settings": settings_schema(form_of(spec)) for spec in SINKS}
    return {
        **made,
        **settings,
        **webhook_schemas(),
        "Settings": {
            "description": f"An integration as faust.yml would hold it. {KEEP} in place of a secret keeps the stored one.",
            "oneOf": [ref(name) for name in settings],
            "discriminator": {
                "propertyName": "kind",
                "mapping": {spec.kind: f"#/components/schemas/{spec.kind.capitalize()}Settings" for spec in SINKS},
            },
        },
        "Integration": _INTEGRATION,
        "Integrations": listed({"integrations": {"type": "array", "items": ref("Integration")}}),
        "Changed": object_of({"message": TEXT, "integration": ref("Integration")}),
        "PreviewAsked": _PREVIEW_ASKED,
        "PreviewFound": _PREVIEW_FOUND,
        "ImportAsked": _IMPORT_ASKED,
        "Imported": _IMPORTED,
        "Page": _PAGE,
        "Error": _ERROR,
    }


def settings_schema(form: FormSpec) -> Schema:
    """The schema of one kind's settings, from its form."""
    schema = object_of({}, required=[])
    schema["description"] = form.summary
    schema["additionalProperties"] = False
    schema["properties"]["kind"] = {"const": form.kind}
    schema["required"].append("kind")
    for group in form.groups:
        if group.name:
            schema["properties"][group.name] = _section(group)
        else:
            _add(schema, group)
    return schema


def _section(group: FormGroup) -> Schema:
    if group.chooser:
        variants = []
        for word, variant in group.variants:
            schema = _section(variant)
            schema["properties"] = {group.chooser: {"const": word}, **schema["properties"]}
            schema["required"] = [group.chooser, *schema["required"]]
            variants.append(schema)
        return {"description": group.help, "oneOf": variants}
    schema = object_of({}, required=[])
    schema["description"] = group.help
    schema["additionalProperties"] = False
    _add(schema, group)
    return schema


def _add(schema: Schema, group: FormGroup) -> None:
    for field in group.fields:
        schema["properties"][field.key] = _field(field) | {"description": field.help}
        if field.is_required:
            schema["required"].append(field.key)
    for inner in group.groups:
        schema["properties"][inner.name.rpartition(".")[2]] = _section(inner)


def _field(field: FormField) -> Schema:  # noqa: C901, PLR0911 one return a type
    match field.type:
        case FieldType.FLAG:
            return {"type": "boolean"}
        case FieldType.CHOICE:
            return {"enum": list(field.choices)}
        case FieldType.WHOLE | FieldType.NUMBER:
            schema: Schema = {"type": "integer" if field.type is FieldType.WHOLE else "number"}
            if field.least is not None:
                schema["minimum"] = field.least
            if field.most is not None:
                schema["maximum"] = field.most
            return schema
        case FieldType.DURATION:
            return {"type": "string", "pattern": _DURATION}
        case FieldType.SIZE:
            return {"type": "string", "pattern": _SIZE}
        case FieldType.LIST:
            entry = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
            return {"anyOf": [{"type": "array", "items": entry}, *entry["anyOf"]]}
        case FieldType.DURATIONS:
            return {"type": "array", "items": {"type": "string", "pattern": _DURATION}} | _most(field)
        case FieldType.SECRETS:
            return {"type": "array", "items": {"type": "string"}, "writeOnly": True} | _most(field)
        case FieldType.MAP:
            return {"type": "object", "additionalProperties": {"type": "string"}}
        case FieldType.SECRET:
            return {"type": "string", "writeOnly": True}
    return {"type": "string"}


def _most(field: FormField) -> Schema:
    return {} if field.most_entries is None else {"maxItems": field.most_entries}


_INTEGRATION: Final = object_of(
    {
        "id": TEXT,
        "kind": {"enum": [spec.kind for spec in SINKS]},
        "enabled": {"type": "boolean"},
        "origin": {"enum": ["file", "stored"], "description": "Those of faust.yml are read-only."},
        "target": TEXT,
        "revision": or_null(COUNT),
        "changed_at": or_null({"type": "number", "description": "UNIX seconds."}),
        "changed_by": or_null(TEXT),
        "settings": {"type": "object", "description": f"As in faust.yml, with {KEEP} in place of secrets."},
    }
)
_PREVIEW_ASKED: Final = object_of(
    {
        "id": {"type": "string", "description": "A saved integration; or give `settings`."},
        "settings": {"type": "object", "description": "Settings that need not be saved; or give `id`."},
        "seconds": or_null(
            {"type": "number", "exclusiveMinimum": 0, "description": "How far back; null: the latest there are."}
        ),
        "events": {"type": "integer", "minimum": 1, "maximum": 200_000, "description": "How many are read at most."},
    },
    required=[],
) | {"oneOf": [{"required": ["id"]}, {"required": ["settings"]}]}
_PREVIEW_FOUND: Final = object_of(
    {
        "events": COUNT,
        "matching": COUNT,
        "estimate": COUNT,
        "by_event_name": COUNTS,
        "by_platform": COUNTS,
        "kept_away": COUNTS,
        "samples": {"type": "array", "items": {"type": "object"}},
        "read": object_of(
            {
                "records": COUNT,
                "read": COUNT,
                "unusable": COUNT,
                "first_at": or_null({"type": "number"}),
                "last_at": or_null({"type": "number"}),
                "is_late": {"type": "boolean"},
                "is_whole": {"type": "boolean"},
                "took_s": {"type": "number"},
            }
        ),
    }
)
_IMPORT_ASKED: Final = object_of(
    {
        "yaml": {"type": "string", "description": "A part of faust.yml, a whole one, a list, or one integration."},
        "variables": {"type": "object", "additionalProperties": TEXT, "description": "What ${NAME} stands for."},
        "dry_run": {"type": "boolean"},
    },
    required=["yaml"],
)
_IMPORTED: Final = object_of(
    {
        "applied": {"type": "boolean"},
        "error": TEXT,
        "counts": COUNTS,
        "integrations": {
            "type": "array",
            "items": object_of(
                {
                    "id": TEXT,
                    "kind": TEXT,
                    **IMPORT_FATES,
                }
            ),
        },
        "problems": {"type": "array", "items": object_of({"line": COUNT, "key": TEXT, "problem": TEXT})},
    },
    required=["applied", "counts", "integrations", "problems"],
)
_COVERAGE: Final = object_of(
    {
        "complete": {"type": "boolean"},
        "missing_partitions": {"type": "array", "items": COUNT},
        "as_of": or_null({"type": "number"}),
        "workers": {"type": "array", "items": {"type": "object"}},
    }
)
_PAGE: Final = object_of(
    {
        "title": TEXT,
        "as_of": {"type": "number"},
        "coverage": _COVERAGE,
        "facts": {"type": "object"},
        "sections": {
            "type": "object",
            "additionalProperties": object_of(
                {
                    "heading": TEXT,
                    "columns": {
                        "type": "array",
                        "items": object_of({"name": TEXT, "title": TEXT, "kind": TEXT, "help": TEXT}),
                    },
                    "next": or_null(TEXT),
                    "facets": {"type": "object"},
                    "coverage": _COVERAGE,
                    "rows": {"type": "array", "items": {"type": "object"}},
                }
            ),
        },
    }
)
_ERROR: Final = object_of(
    {
        "error": TEXT,
        "status": {"type": "integer"},
        "problems": {"type": "array", "items": object_of({"key": TEXT, "problem": TEXT})},
    }
)
