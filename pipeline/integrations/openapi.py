"""The OpenAPI document of the view: its API, and every page as JSON, from what is registered and from the types."""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Final, NamedTuple

from pipeline.integrations.api_answers import JSON, OF_PAGES, WRONG, YAML, answer, if_match
from pipeline.integrations.api_parts import TEXT, Schema, object_of, ref
from pipeline.integrations.api_schemas import schemas
from pipeline.integrations.webhook_operations import WEBHOOKS, webhook_operations

OPENAPI: Final = "3.1.0"
INTEGRATIONS: Final = "/api/v1/integrations"
DOCUMENT: Final = "/api/v1/openapi.json"

_NAME = re.compile(r"\{([a-z_]+)\}")
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")
_TAGS: Final = {INTEGRATIONS: "Integrations", WEBHOOKS: "Webhooks", "": "Pages"}


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
            "description": "Integrations and webhooks as data, and every page of the view as JSON.",
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
        "200": answer("What was asked for.", ref("Page") if served.kind == "page" else {})
    }
    statuses = {"400", "403", "404", "413", "421", "429", "500", "503", *details.get("errors", ())}
    statuses |= {"415"} if served.method == "POST" else set()
    operation: dict[str, Any] = {
        "operationId": _operation_id(served),
        "summary": served.summary,
        "description": f"Takes the role {served.role}.",
        "tags": [next(name for root, name in _TAGS.items() if served.path.startswith(root))],
        "parameters": [*parameters, *details.get("parameters", OF_PAGES if served.kind == "page" else ())],
        "responses": {
            **answers,
            **{status: answer(_STATUSES[status], ref("Error")) for status in sorted(statuses - set(answers))},
            "401": answer(_STATUSES["401"], ref("Error")),
        },
    }
    if "body" in details:
        operation["requestBody"] = {"required": details.get("needs_body", True), "content": details["body"]}
    return operation


def _operation_id(served: Served) -> str:
    words = [word for word in _NOT_A_WORD.split(served.path.removeprefix("/api/v1").lower()) if word]
    return "_".join((served.method.lower(), *(words or ["index"])))


def _details() -> Mapping[tuple[str, str], dict[str, Any]]:
    """What only the API has: parameters, bodies, answers, and statuses of errors."""
    one = f"{INTEGRATIONS}/{{id}}"
    settings = {JSON: {"schema": ref("Settings")}}
    changed = {"200": answer("As it is now.", ref("Changed"), tag=True)}
    made = {"201": answer("As it was made.", ref("Changed"), tag=True, location=True)}
    trial = {"200": answer("What was sent and answered.", ref("Trial"))}
    imported = {
        status: answer(words, ref("Imported"))
        for status, words in (
            ("200", "What would be done, or was."),
            ("409", "Some could not be changed."),
            ("422", WRONG),
        )
    }
    flag: Schema = {"type": "boolean"}
    return {
        ("GET", INTEGRATIONS): {
            "parameters": OF_PAGES,
            "responses": {"200": answer("A page of them.", ref("Integrations"))},
        },
        ("POST", INTEGRATIONS): {"body": settings, "responses": made, "errors": ("409", "422")},
        ("GET", one): {"responses": {"200": answer("The integration.", ref("Integration"), tag=True)}},
        ("PUT", one): {
            "parameters": [if_match("integration")],
            "body": settings,
            "responses": changed,
            "errors": ("409", "412", "422", "428"),
        },
        ("DELETE", one): {
            "parameters": [if_match("integration")],
            "responses": {"204": {"description": "It is removed."}},
            "errors": ("409", "412", "428"),
        },
        **{
            ("POST", f"{one}/{word}"): {
                "parameters": [if_match("integration")],
                "responses": changed,
                "errors": ("409", "412", "422"),
            }
            for word in ("enable", "disable")
        },
        ("POST", f"{one}/duplicate"): {
            "body": {JSON: {"schema": object_of({"id": TEXT})}},
            "responses": made,
            "errors": ("409", "422"),
        },
        ("POST", f"{one}/test"): {"responses": trial},
        ("POST", f"{INTEGRATIONS}/test"): {"body": settings, "responses": trial, "errors": ("422",)},
        ("POST", f"{one}/doctor"): {
            "parameters": [{"name": "send", "in": "query", "schema": flag}],
            "responses": {"200": answer("Step by step.", ref("Examination"))},
        },
        ("GET", f"{INTEGRATIONS}.yaml"): {
            "parameters": [
                {"name": "id", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}, "explode": True}
            ],
            "responses": {
                "200": {"description": "A part of faust.yml.", "content": {YAML: {"schema": {"type": "object"}}}}
            },
        },
        ("POST", f"{INTEGRATIONS}/import"): {
            "parameters": [{"name": "dry_run", "in": "query", "schema": flag}],
            "body": {JSON: {"schema": ref("ImportAsked")}, YAML: {"schema": {}}},
            "responses": imported,
        },
        ("POST", f"{INTEGRATIONS}/preview"): {
            "body": {JSON: {"schema": ref("PreviewAsked")}},
            "responses": {"200": answer("What would have matched.", ref("PreviewFound"))},
            "errors": ("422",),
        },
        **webhook_operations(),
        ("GET", DOCUMENT): {"responses": {"200": answer("This document.", {"type": "object"})}},
    }


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
    "422": WRONG,
    "428": "If-Match is missing.",
    "429": "Sign-in failed too often.",
    "500": "This is a mistake of the view; the worker's log says more.",
    "503": "Who would have to answer does not, just now.",
}
