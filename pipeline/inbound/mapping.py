"""A webhook, ready for requests: what its payloads say about the user and the event."""

from collections.abc import Mapping
from typing import Any, Final

from pipeline.inbound.outcome import Outcome
from pipeline.inbound.path import MISSING, Path, parse_path, pick
from pipeline.inbound.payload import Refused, in_words
from pipeline.inbound.settings import IDENTIFY_LABELS, IdentifyBy, WebhookSettings
from pipeline.users.identifiers import MOST_CHARACTERS, By, normalized

_LARGEST_EXACT_FLOAT: Final = 2.0**53


class CompiledWebhook:
    """A webhook whose paths are parsed. Compile it once for each change of its settings, not once a request."""

    __slots__ = ("_attributes", "_by", "_field", "settings")

    def __init__(self, settings: WebhookSettings) -> None:
        self.settings = settings
        self._by = By(settings.identify.by)
        self._field: Path = parse_path(settings.identify.field)
        self._attributes = tuple((name, parse_path(text)) for name, text in settings.attributes.items())

    @property
    def id(self) -> str:
        """The webhook's id."""
        return self.settings.id

    @property
    def identify_by(self) -> IdentifyBy:
        """What the identifier is."""
        return self.settings.identify.by

    def identifier_of(self, payload: Mapping[str, Any]) -> str:
        """Whose event ``payload`` is, in the spelling that users are kept by (``pipeline.users.identifiers``).

        A whole number counts as its digits. Raises ``Refused`` with ``Outcome.IDENTIFIER_MISSING`` where there is nothing, or
        nothing that can be an identifier.
        """
        value = pick(payload, self._field)
        text = value.strip() if isinstance(value, str) else _digits(value)
        if text.isprintable():
            try:
                return normalized(self._by, text)
            except ValueError:
                pass
        raise Refused(Outcome.IDENTIFIER_MISSING, f"{self.settings.identify.field} {_why(value)}")

    def attributes_of(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The event's attributes in ``payload``, in the order of the settings; those that are absent or null are left out."""
        attributes: dict[str, Any] = {}
        for name, path in self._attributes:
            value = pick(payload, path)
            if value is not MISSING and value is not None:
                attributes[name] = value
        return attributes


def compile_webhook(settings: WebhookSettings) -> CompiledWebhook:
    """Make a webhook ready for requests. Raises nothing: its paths were checked with the settings."""
    return CompiledWebhook(settings)


def label_of(by: IdentifyBy) -> str:
    """How pages call an identifier: ``User ID``, ``Email``, ``Phone``, ``HWID``."""
    return IDENTIFY_LABELS[by]


def _digits(value: Any) -> str:
    if isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_EXACT_FLOAT:
        return str(int(value))
    return ""


def _why(value: Any) -> str:
    if value is MISSING:
        return "is not in the payload"
    if isinstance(value, str) and len(value.strip()) > MOST_CHARACTERS:
        return f"holds more than {MOST_CHARACTERS} characters"
    if isinstance(value, str) and value.strip():
        return "holds no more than spaces and brackets, or characters that cannot be shown"
    if isinstance(value, float | int) and not isinstance(value, bool):
        return "is a number that is not whole, or too long"
    return f"is {in_words(value)}, not text"
