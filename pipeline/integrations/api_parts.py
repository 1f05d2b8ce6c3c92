"""The parts that JSON Schemas of the API are made of."""

from typing import Any, Final

from pipeline.integrations.yaml_reading import Fate

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A reference to the schema of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(properties: dict[str, Schema], required: list[str] | None = None) -> Schema:
    """An object with ``properties``, all of them required unless it is said which."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties] if required is None else required,
    }


def or_null(schema: Schema) -> Schema:
    """``schema``, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def listed(properties: dict[str, Schema]) -> Schema:
    """A page of a list, whose entries are among ``properties``."""
    return object_of(
        properties
        | {
            "matching": COUNT,
            "next": or_null(TEXT),
            "facets": {"type": "object"},
            "revision": COUNT,
        }
    )


TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
COUNTS: Final[Schema] = {"type": "object", "additionalProperties": COUNT}
IMPORT_FATES: Final[dict[str, Schema]] = {
    "line": COUNT,
    "fate": {"enum": [each.value for each in Fate]},
    "revision": or_null(COUNT),
    "differences": {"type": "array", "items": object_of({"key": TEXT, "before": {}, "after": {}})},
    "problem": or_null(TEXT),
}
"""What an import would do, or did, with one entry."""
