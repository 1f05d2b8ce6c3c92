"""Answers and parameters that operations of the API have in common."""

from typing import Any, Final

from pipeline.integrations.api_parts import TEXT, Schema

JSON: Final = "application/json"
YAML: Final = "application/yaml"
WRONG: Final = "Something is wrong; nothing was done."


def answer(words: str, schema: Schema, *, tag: bool = False, location: bool = False) -> dict[str, Any]:
    """An answer in JSON, in ``words``; ``tag`` and ``location`` say which headers come with it."""
    found: dict[str, Any] = {"description": words, "content": {JSON: {"schema": schema}}}
    headers = {}
    if tag:
        headers["ETag"] = {"description": "What If-Match must say.", "schema": {"type": "string"}}
    if location:
        headers["Location"] = {"description": "Where it is.", "schema": {"type": "string"}}
    return found | {"headers": headers} if headers else found


def if_match(noun: str) -> Schema:
    """The header that says which revision was seen."""
    return {
        "name": "If-Match",
        "in": "header",
        "description": f"The ETag of the {noun} as it was seen, or *.",
        "schema": {"type": "string"},
    }


OF_PAGES: Final[list[Schema]] = [
    {
        "name": "q",
        "in": "query",
        "description": "Stands in some column of text.",
        "schema": {"type": "string", "maxLength": 1000},
    },
    {"name": "sort", "in": "query", "description": "A column; with - before it, descending.", "schema": TEXT},
    {"name": "after", "in": "query", "description": "`next` of the page before.", "schema": TEXT},
    {
        "name": "size",
        "in": "query",
        "schema": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 1000}, {"const": "all"}]},
    },
    {
        "name": "where",
        "in": "query",
        "style": "form",
        "explode": True,
        "description": "Conditions, each a column or a column and an operator: `status__gt=499`. Operators: exact, not, contains, "
        "gt, gte, lt, lte, in, blank.",
        "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    },
]
"""Parameters of whatever lists rows."""
