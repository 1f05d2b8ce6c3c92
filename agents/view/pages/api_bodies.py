"""Bodies of the API: what requests hold, and how answers are written."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from agents.view.visit import Content, Visit
from pipeline.errors import ViewQueryError
from pipeline.view.apply import select
from pipeline.view.columns import Column, Row
from pipeline.view.formats.json import encoded
from pipeline.view.query import encode_cursor, parse_query

JSON: Final = "application/json"
YAML: Final = "application/yaml"

_TRUE: Final = frozenset({"1", "true", "yes"})
_FALSE: Final = frozenset({"0", "false", "no", ""})
_DEEPEST: Final = 32


class ImportAsked(NamedTuple):
    """What is to be imported, what ``${NAME}`` stands for, and whether it is only to be said what would be done."""

    text: str
    variables: dict[str, str]
    is_dry: bool


def object_of(visit: Visit) -> dict[str, Any]:
    """The JSON object that the body is; raises ``ViewQueryError`` where it is none."""
    try:
        found = msgspec.json.decode(visit.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ViewQueryError(f"the body is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise ViewQueryError("the body must be a JSON object")
    _check_depth(found)
    return found


def flag(name: str, text: str) -> bool:
    """``text`` of the parameter ``name`` as yes or no; raises ``ViewQueryError``."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ViewQueryError(f"{name}: {text[:40]!r} is neither true nor false")


def import_of(visit: Visit) -> ImportAsked:
    """What is to be imported: from JSON, or from YAML with ``dry_run`` in the URL. Raises ``ViewQueryError``."""
    content_type = visit.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_dry = flag("dry_run", visit.parameter("dry_run"))
    if content_type != JSON:
        try:
            return ImportAsked(visit.body.decode(), {}, is_dry)
        except UnicodeDecodeError:
            raise ViewQueryError("the body is not UTF-8 text") from None
    body = object_of(visit)
    text, variables = body.get("yaml"), body.get("variables") or {}
    if not isinstance(text, str):
        raise ViewQueryError("yaml: must be the text to import")
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        raise ViewQueryError("variables: must be an object of texts")
    if not isinstance(body.get("dry_run", False), bool):
        raise ViewQueryError("dry_run: must be true or false")
    return ImportAsked(text, variables, is_dry or body.get("dry_run", False))


def json_content(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Content:
    """An answer in JSON."""
    return Content(encoded(value) + b"\n", JSON, "", status, headers or {})


def listed(
    visit: Visit,
    rows: Sequence[Row],
    columns: Sequence[Column],
    shown: Callable[[str], Any],
    *,
    family: str,
    revision: int,
) -> Content:
    """A page of what is kept under ids, as the query asks; ``shown`` gives one of them, ``family`` is what they are called."""
    query = parse_query(visit.parameters, columns, key="id", sort="id")
    chosen = select(rows, query, columns)
    last = chosen.rows[-1] if chosen.has_more else None
    return json_content(
        {
            family: [shown(row["id"]) for row in chosen.rows],
            "matching": chosen.matching,
            "next": None if last is None else encode_cursor(last[query.sort], last["id"]),
            "facets": chosen.facets,
            "revision": revision,
        }
    )


def yaml_content(pieces: Iterator[str], filename: str) -> Content:
    """An answer in YAML, as a file to keep."""
    return Content(_paced(pieces), f"{YAML}; charset=utf-8", filename)


def _check_depth(value: Any, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise ViewQueryError(f"the body is nested more than {_DEEPEST} deep")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(inner, depth + 1)


async def _paced(pieces: Iterator[str]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece.encode()
        await asyncio.sleep(0)
