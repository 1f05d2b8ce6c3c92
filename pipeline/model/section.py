"""What every section of ``faust.yml`` has in common, whichever layer defines it."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails


class Origin(enum.Enum):
    """The validation context: where the values come from. Without one, Python code made them."""

    FILE = "file"
    """A person wrote them: durations and sizes must carry their unit."""


@dataclass(frozen=True, slots=True)
class InWords:
    """Put into an ``Annotated``: what the type is called in the documentation."""

    text: str

    def words(self) -> str:
        """The type, for people."""
        return self.text


def mistakes(found: Mapping[tuple[str | int, ...], str]) -> ValidationError:
    """What a section's validator raises for mistakes that hold between keys: the words for each place in the section."""
    return ValidationError.from_exception_data(
        "mistakes",
        [
            InitErrorDetails(type="value_error", loc=place, input=None, ctx={"error": ValueError(words)})
            for place, words in found.items()
        ],
        hide_input=True,
    )


class Section(BaseModel):
    """A mapping of known keys: immutable, no others allowed, values never shown in pydantic's own errors.

    In the file a key is the field's alias where it has one; Python code may also use the attribute's name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: Any) -> Any:
        """A known key with nothing behind it (``campaigns:``) is as good as absent."""
        if not isinstance(data, dict):
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: value for key, value in data.items() if value is not None or key not in known}
