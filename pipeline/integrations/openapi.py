"""The OpenAPI document of the view: its API, and every page as JSON, from what is registered and from the types."""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Final, NamedTuple

from pipeline.integrations.api_schemas import TEXT, Schema, object_of, ref, schemas

OPENAPI: Final = "3.1.0"
INTEGRATIONS: Final = "/api/v1/integrations"
DOCUMENT: Final = "/api/v1/openapi.json"

_JSON: Final = "application/json"
_YAML: Final = "application/yaml"
_NAME = re.compile(r"\{([a-z_]+)\}")
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")
_TAGS: Final = {"api": "Integrations", "page": "Pages"}


class Served(NamedTuple):
    """Something that is served: ``kind`` is ``page`` or ``api``, ``path`` has ``{name}`` for a step, ``summary`` is a sentence.

    A page is had as JSON at ``path``, which ends in ``.json`` already.
    """

    kind: str
    method: str
    path: str
    role: str
    summary: str


def document(served: Iterable[Served], *, needs_sign_in: bool, server: str = "/") -> dict[str, Any]:
    """The document. ``server`` is the path below which the view is offered."""
    paths: dict[str, Any] = {}
    for each in served:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each)
    found: dict[str, Any] = {
        "openapi": OPENAPI,
        "info": {
            "title": "Distributary",
            "version": version("distributary"),
            "description": "Integrations as data, and every page of the view as JSON.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "tags": [{"name": name} for name in _TAGS.values()],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas()},
    }
    if needs_sign_in:
        found["components"]["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "description": "A token of view.tokens in faust.yml."}
        }
        found["security"] = [{"token": []}]
    return found


def _operation(served: Served) -> dict[str, Any]:
    parameters: list[Schema] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _NAME.findall(served.path)
    ]
    details = _details().get((served.method, served.path), {}) if served.kind == "api" else {}
    answers = details.get("responses") or {
        "200": _answer("What was asked for.", ref("Page") if served.kind == "page" else {})
    }
    statuses = {"400", "403", "404", "413", "421", "429", "500", "503", *details.get("errors", ())}
    statuses |= {"415"} if served.method == "POST" else set()
    operation: dict[str, Any] = {
        "operationId": _operation_id(served),
        "summary": served.summary,
        "description": f"Takes the role {served.role}.",
        "tags": [_TAGS["api" if served.path.startswith(INTEGRATIONS) else "page"]],
        "parameters": [*parameters, *details.get("parameters", _OF_PAGES if served.kind == "page" else ())],
        "responses": {
            **answers,
            **{status: _answer(_STATUSES[status], ref("Error")) for status in sorted(statuses - set(answers))},
            "401": _answer(_STATUSES["401"], ref("Error")),
        },
    }
    if "body" in details:
        operation["requestBody"] = {"required": True, "content": details["body"]}
    return operation


def _operation_id(served: Served) -> str:
    words = [word for word in _NOT_A_WORD.split(served.path.removeprefix("/api/v1").lower()) if word]
    return "_".join((served.method.lower(), *(words or ["index"])))


def _details() -> Mapping[tuple[str, str], dict[str, Any]]:
    """What only the API of integrations has: parameters, bodies, answers, and statuses of errors."""
    one = f"{INTEGRATIONS}/{{id}}"
    settings = {_JSON: {"schema": ref("Settings")}}
    if_match: Schema = {
        "name": "If-Match",
        "in": "header",
        "description": "The ETag of the integration as it was seen, or *.",
        "schema": {"type": "string"},
    }
    changed = {"200": _answer("As it is now.", ref("Changed"), tag=True)}
    made = {"201": _answer("As it was made.", ref("Changed"), tag=True, location=True)}
    trial = {"200": _answer("What was sent and answered.", ref("Trial"))}
    imported = {
        status: _answer(words, ref("Imported"))
        for status, words in (
            ("200", "What would be done, or was."),
            ("409", "Some could not be changed."),
            ("422", _WRONG),
        )
    }
    flag: Schema = {"type": "boolean"}
    return {
        ("GET", INTEGRATIONS): {
            "parameters": _OF_PAGES,
            "responses": {"200": _answer("A page of them.", ref("Integrations"))},
        },
        ("POST", INTEGRATIONS): {"body": settings, "responses": made, "errors": ("409", "422")},
        ("GET", one): {"responses": {"200": _answer("The integration.", ref("Integration"), tag=True)}},
        ("PUT", one): {
            "parameters": [if_match],
            "body": settings,
            "responses": changed,
            "errors": ("409", "412", "422", "428"),
        },
        ("DELETE", one): {
            "parameters": [if_match],
            "responses": {"204": {"description": "It is removed."}},
            "errors": ("409", "412", "428"),
        },
        **{
            ("POST", f"{one}/{word}"): {
                "parameters": [if_match],
                "responses": changed,
                "errors": ("409", "412", "422"),
            }
            for word in ("enable", "disable")
        },
        ("POST", f"{one}/duplicate"): {
            "body": {_JSON: {"schema": object_of({"id": TEXT})}},
            "responses": made,
            "errors": ("409", "422"),
        },
        ("POST", f"{one}/test"): {"responses": trial},
        ("POST", f"{INTEGRATIONS}/test"): {"body": settings, "responses": trial, "errors": ("422",)},
        ("POST", f"{one}/doctor"): {
            "parameters": [{"name": "send", "in": "query", "schema": flag}],
            "responses": {"200": _answer("Step by step.", ref("Examination"))},
        },
        ("GET", f"{INTEGRATIONS}.yaml"): {
            "parameters": [
                {"name": "id", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}, "explode": True}
            ],
            "responses": {
                "200": {"description": "A part of faust.yml.", "content": {_YAML: {"schema": {"type": "object"}}}}
            },
        },
        ("POST", f"{INTEGRATIONS}/import"): {
            "parameters": [{"name": "dry_run", "in": "query", "schema": flag}],
            "body": {_JSON: {"schema": ref("ImportAsked")}, _YAML: {"schema": {}}},
            "responses": imported,
        },
        ("POST", f"{INTEGRATIONS}/preview"): {
            "body": {_JSON: {"schema": ref("PreviewAsked")}},
            "responses": {"200": _answer("What would have matched.", ref("PreviewFound"))},
            "errors": ("422",),
        },
        ("GET", DOCUMENT): {"responses": {"200": _answer("This document.", {"type": "object"})}},
    }


def _answer(words: str, schema: Schema, *, tag: bool = False, location: bool = False) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": words, "content": {_JSON: {"schema": schema}}}
    headers = {}
    if tag:
        headers["ETag"] = {"description": "What If-Match must say.", "schema": {"type": "string"}}
    if location:
        headers["Location"] = {"description": "Where it is.", "schema": {"type": "string"}}
    return answer | {"headers": headers} if headers else answer


_WRONG: Final = "Something is wrong; nothing was done."
_STATUSES: Final = {
    "400": "The parameters or the body make no sense.",
    "401": "Nobody is signed in.",
    "403": "The role does not permit it.",
    "404": "There is no such thing.",
    "409": "It exists already, or stands in faust.yml.",
    "412": "It was changed meanwhile.",
    "413": "The body is too large.",
    "415": "The body is of a type that is not taken.",
    "421": "The request is for another host.",
    "422": _WRONG,
    "428": "If-Match is missing.",
    "429": "Sign-in failed too often.",
    "500": "This is a mistake of the view; the worker's log says more.",
    "503": "Who would have to answer does not, just now.",
}
_OF_PAGES: Final[list[Schema]] = [
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
