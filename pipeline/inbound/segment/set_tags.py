"""``setTags``: the call of the vendor's public API that RudderStack makes where Segment calls ``track-user``.

It names the application in its body, and has answers of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from pydantic import SecretStr

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.segment.answers import Refusal, meaning, set_tags_answer
from pipeline.inbound.segment.credentials import is_anyones_token, is_token_valid
from pipeline.inbound.segment.post_events import DEEPEST
from pipeline.inbound.segment.reading import Fields, UnreadableError, decode_fields, is_null, read
from pipeline.inbound.segment.tracked_user import TrackedUser, tracked_user
from pipeline.ingest.poison import is_nested_too_deep

PATH: Final = "/json/1.3/setTags"
"""The call's path."""

_ARGUMENT_ERROR: Final = 210
_BROKEN: Final = 400
_FIELDS: Final = {"userId": "user_id", "hwid": "device_id", "tags": "attributes"}
_text: Final = msgspec.json.Decoder(str)


class SetTags(NamedTuple):
    """Whose tags are set, in which application."""

    application: str
    user: TrackedUser


def stranger_refusal(authorization: str | None, tokens: Mapping[str, Sequence[SecretStr]]) -> Refusal | None:
    """The refusal of a caller without the token of any application, of whom no body is to be waited for; ``None`` for others."""
    return None if is_anyones_token(authorization, tokens) else _unauthorized()


def read_set_tags(
    body: bytes,
    authorization: str | None,
    tokens: Mapping[str, Sequence[SecretStr]],
    *,
    max_depth: int = DEEPEST,
) -> SetTags | Refusal:
    """Read the body of ``setTags``, and check ``authorization`` against the ``tokens`` of the application that it names."""
    if is_nested_too_deep(body, max_depth):
        return _refusal(_BROKEN, f"nests more than {max_depth} objects and lists in each other", Outcome.TOO_DEEP)
    try:
        request = _object(read(decode_fields, body), "request")
        application = _application(request)
    except UnreadableError as error:
        return _refusal(_BROKEN, str(error), error.outcome)
    valid = tokens.get(application)
    if valid is None:
        return _refusal(_ARGUMENT_ERROR, "application code is not valid", Outcome.APPLICATION_UNKNOWN)
    if not is_token_valid(authorization, valid):
        return _unauthorized(application)
    user = tracked_user({_FIELDS[name]: value for name, value in request.items() if name in _FIELDS})
    if user is None:
        return _refusal(_ARGUMENT_ERROR, "hwid or userId should be set", Outcome.IDENTIFIER_MISSING, application)
    return SetTags(application, user)


def _application(request: Fields) -> str:
    content = request.get("application")
    return "" if content is None or is_null(content) else read(_text, bytes(content)).strip()


def _object(fields: Fields, name: str) -> Fields:
    content = fields.get(name)
    return {} if content is None or is_null(content) else read(decode_fields, bytes(content))


def _refusal(status_code: int, message: str, outcome: Outcome, application: str = "") -> Refusal:
    return Refusal(set_tags_answer(400, status_code, message), outcome, message, application)


def _unauthorized(application: str = "") -> Refusal:
    answer = set_tags_answer(401, 401, "unauthorized")
    return Refusal(answer, Outcome.AUTH_REJECTED, meaning(Outcome.AUTH_REJECTED), application)
