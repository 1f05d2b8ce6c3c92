"""From a body's bytes to the payload: a JSON object that is safe to walk through."""

from typing import Any, Final

import msgspec

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.surrogates import without_lone_surrogates

_decode: Final = msgspec.json.Decoder().decode


class Refused(Exception):  # noqa: N818  an outcome, not an error of ours
    """A request that fires nothing: ``outcome`` says why, ``detail`` what was found where, without values of the payload."""

    def __init__(self, outcome: Outcome, detail: str = "") -> None:
        super().__init__(f"{outcome}: {detail}" if detail else str(outcome))
        self.outcome = outcome
        self.detail = detail


def read_json(body: bytes, max_depth: int) -> Any:
    """The JSON value in ``body``, which nests at most ``max_depth`` objects and arrays; raises ``Refused`` otherwise.

    Escaped halves of surrogate pairs, which JavaScript writes where it cuts a text, are read as U+FFFD.
    """
    body = without_lone_surrogates(body)
    try:
        value = _decode(body)
    except UnicodeDecodeError as error:
        raise Refused(Outcome.MALFORMED_JSON, f"is not UTF-8 ({error.reason})") from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    except msgspec.MsgspecError as error:
        raise Refused(Outcome.MALFORMED_JSON, str(error) if body.strip() else "the body is empty") from None
    if body.count(b"{") + body.count(b"[") > max_depth and _is_deeper(value, max_depth):
        raise _too_deep(max_depth)
    return value


def read_payload(body: bytes, max_depth: int) -> dict[str, Any]:
    """The object in ``body``; raises ``Refused`` with the outcome where there is none."""
    payload = read_json(body, max_depth)
    if not isinstance(payload, dict):
        raise Refused(Outcome.NOT_AN_OBJECT, f"the body is {in_words(payload)}")
    return payload


def in_words(value: Any) -> str:
    """What kind of JSON value ``value`` is, without what it holds."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text" if value.strip() else "empty text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def _is_deeper(value: Any, most: int) -> bool:
    """Whether more than ``most`` objects and arrays of ``value`` are in each other."""
    level = [value]
    for _ in range(most):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return any(isinstance(each, dict | list) for each in level)


def _too_deep(most: int) -> Refused:
    return Refused(Outcome.TOO_DEEP, f"more than {most} objects and arrays in each other")
