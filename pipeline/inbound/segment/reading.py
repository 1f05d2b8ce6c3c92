"""From a call's bytes to JSON values that are safe to look at."""

from typing import Final, TypeVar

import msgspec

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.surrogates import without_lone_surrogates

T = TypeVar("T")

_FIRST_BYTES: Final = {
    ord('"'): "a text",
    ord("n"): "null",
    ord("t"): "true or false",
    ord("f"): "true or false",
    ord("["): "a list",
    ord("{"): "an object",
}

Fields = dict[str, msgspec.Raw]
decode_fields: Final = msgspec.json.Decoder(Fields)
"""An object's fields, each as its JSON."""


class UnreadableError(ValueError):
    """JSON that is broken, or of a kind that is not taken; ``outcome`` says which, the message what was found where."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


def read(decoder: "msgspec.json.Decoder[T]", content: bytes) -> T:
    """Decode ``content``, with U+FFFD for halves of surrogate pairs; raises ``UnreadableError``."""
    try:
        return _decoded(decoder, content)
    except msgspec.ValidationError as error:
        raise UnreadableError(Outcome.UNDECODABLE, str(error)) from None
    except UnicodeDecodeError:
        raise UnreadableError(Outcome.MALFORMED_JSON, "the body is not UTF-8") from None
    except msgspec.DecodeError as error:
        message = str(error) if content.strip() else "the body is empty"
        raise UnreadableError(Outcome.MALFORMED_JSON, message) from None
    except RecursionError:
        raise UnreadableError(Outcome.TOO_DEEP, "the body nests too deep") from None


def kind_of(value: msgspec.Raw | bytes) -> str:
    """What kind of JSON value this is, in words."""
    first = bytes(value).lstrip()[:1]
    return _FIRST_BYTES.get(first[0], "a number") if first else "nothing"


def is_null(value: msgspec.Raw | bytes) -> bool:
    """Whether this is ``null``."""
    return bytes(value).strip() == b"null"


def _decoded(decoder: "msgspec.json.Decoder[T]", content: bytes) -> T:
    try:
        return decoder.decode(content)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        repaired = without_lone_surrogates(content)
        if repaired is content or repaired == content:
            raise
        return decoder.decode(repaired)
