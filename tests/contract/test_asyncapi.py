"""The AsyncAPI document: whole in itself, and true of what the sinks really send."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from pipeline.asyncapi.document import Topics, document
from pipeline.asyncapi.schemas import FIELDS
from pipeline.ingest.event import Event
from pipeline.model.attempt import Attempt, DeadLetter, Verdict, encode_attempt
from pipeline.notices.notice import Cause, Notice, encode_notice
from pipeline.sinks.registry import SINKS, spec_of
from tests.contract.test_every_sink import sink_to
from tests.contract.test_examples import batch_of
from tests.support.endpoint import Seen, reply, serving

ROOT = Path(__file__).parents[2]
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


@cache
def whole() -> Any:
    own = ("attempts", "parked", "dead-letters", "notices", "inbound-requests", "inbound")
    return document(Topics("source", *(f"{{app}}-{name}" for name in own)))


def resolved(reference: str) -> Any:
    node = whole()
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def problems(schema: dict[str, Any], value: Any, where: str = "") -> list[str]:  # noqa: PLR0912  one line a keyword
    """What of ``value`` is not as ``schema`` (of the kinds that the document uses) has it."""
    if "$ref" in schema:
        return problems(resolved(schema["$ref"]), value, where)
    found: list[str] = []
    expected = TYPES.get(schema.get("type", ""), object)
    if not isinstance(value, expected) or (isinstance(value, bool) and schema.get("type") != "boolean"):
        return [f"{where} is no {schema['type']}: {value!r}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where} is none of {schema['enum']}: {value!r}")
    if "const" in schema and value != schema["const"]:
        found.append(f"{where} is not {schema['const']}")
    if not schema.get("minimum", value) <= value if isinstance(value, int | float) else False:
        found.append(f"{where} is too small")
    if isinstance(value, str | list):
        least, most = ("minLength", "maxLength") if isinstance(value, str) else ("minItems", "maxItems")
        if not schema.get(least, 0) <= len(value) <= schema.get(most, len(value)):
            found.append(f"{where} has a wrong length")
    if "anyOf" in schema and all(problems(choice, value, where) for choice in schema["anyOf"]):
        found.append(f"{where} is none of its forms")
    if isinstance(value, dict):
        found += [f"{where} lacks {name}" for name in schema.get("required", []) if name not in value]
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                found += problems(inner, value[name], f"{where}.{name}")
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            found += problems(schema["items"], item, f"{where}[{index}]")
    return found


def undescribed(schema: dict[str, Any], value: dict[str, Any]) -> set[str]:
    return set(value) - set(schema["properties"])


def test_every_reference_leads_somewhere() -> None:
    for reference in references(whole()):
        if reference.startswith("#/"):
            assert resolved(reference) is not None
        else:
            assert (ROOT / "docs" / reference).is_file(), reference


def test_operations_use_messages_of_their_channel() -> None:
    for name, operation in whole()["operations"].items():
        for part in filter(None, (operation, operation.get("reply"))):
            channel = part["channel"]["$ref"]
            for message in part.get("messages", []):
                assert message["$ref"].startswith(f"{channel}/messages/"), name


def test_every_sink_has_an_operation_that_says_what_it_is() -> None:
    operations = whole()["operations"]
    for spec in SINKS:
        assert operations[f"deliver-{spec.kind}"]["summary"] == spec.summary
        assert all("payload" in resolved(message) for message in messages_of(spec.kind))


def messages_of(kind: str) -> list[str]:
    channel = whole()["operations"][f"deliver-{kind}"]["messages"]
    return [resolved(message["$ref"])["$ref"] for message in channel]


def test_names_and_address_parameters_are_such_as_the_standard_has_them() -> None:
    for name, channel in whole()["channels"].items():
        assert re.fullmatch(r"[A-Za-z0-9_-]+", name)
        used = set(re.findall(r"\{(\w+)\}", channel["address"] or ""))
        assert used == set(channel.get("parameters", {}))
    for kind in ("messages", "schemas"):
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in whole()["components"][kind])


def test_every_schema_and_message_is_used() -> None:
    used = set(references(whole()))
    for kind in ("messages", "schemas"):
        unused = {name for name in whole()["components"][kind] if f"#/components/{kind}/{name}" not in used}
        assert unused <= {"KnownEvent"}


def test_every_field_of_an_event_is_described() -> None:
    assert set(FIELDS) == set(Event.__struct_fields__)


def test_source_events_and_records_of_topics_are_as_described() -> None:
    event = json.loads(next(batch_of(0, 1).run().events()))
    assert problems(resolved("#/components/schemas/SourceEvent"), event) == []
    assert problems(resolved("#/components/schemas/SourceEvent"), {**event, "timestamp": "now"}) != []
    attempt = Attempt(
        "crm:0-1", "crm", "http", 1, 1.5, 1, Verdict.RETRY, "503", 0.25, 10, 0, status=503, next_at=2.5, final="parked"
    )
    described = resolved("#/components/schemas/Attempt")
    content = json.loads(encode_attempt(attempt))
    assert problems(described, content) == []
    assert undescribed(described, content) == set()
    notice = Notice("n-1", next(iter(Cause)), 1.5, "no answer", integration="crm", suppressed=2)
    described = resolved("#/components/schemas/Notice")
    content = json.loads(encode_notice(notice))
    assert (problems(described, content), undescribed(described, content)) == ([], set())
    letter = DeadLetter("not_json", "x", "t", 0, 1, 2, None, b"")
    headers = resolved("#/components/messages/deadLetter")["headers"]
    assert {name for name, _ in letter.headers()} == set(headers["properties"])


def decoded(seen: Seen) -> tuple[dict[str, str], Any]:
    return seen.headers, json.loads(seen.body)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("http", {}, "httpArray"),
        ("http", {"body": "envelope"}, "httpEnvelope"),
        ("http", {"body": "object"}, "httpObject"),
        ("email", {}, "emailStatus"),
        ("xtremepush", {"channels": "*", "platforms": "Email"}, "xtremepushEvent"),
        ("segment", {"write_key": "key", "authorization": None, "platforms": "Email"}, "segmentBatch"),
    ],
)
async def test_what_a_sink_sends_is_as_described(kind: str, settings: dict[str, Any], message: str) -> None:
    described = resolved(f"#/components/messages/{message}")
    async with serving(reply(200)) as endpoint, sink_to(spec_of(kind), endpoint.url(""), **settings) as sink:
        await sink.send(batch_of(0, 3), now_s=1_700_000_000.0)
        sent = [decoded(seen) for seen in endpoint.seen]
    for headers, body in sent:
        assert problems(described["headers"], headers, "headers") == []
        assert problems(described["payload"], body, "body") == []
        assert problems(described["payload"], {} if isinstance(body, dict) else [], "body") != []


def test_the_document_is_plain_yaml() -> None:
    text = (ROOT / "docs" / "asyncapi.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["asyncapi"] == "3.0.0"
    assert msgspec.json.decode(msgspec.json.encode(yaml.safe_load(text)))["channels"]
