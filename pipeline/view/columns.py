"""What a column of a view holds: its name in URLs, its title, how it is shown, and whether it is personal."""

import enum
from dataclasses import dataclass
from typing import Any


class Kind(enum.StrEnum):
    """How a column's values are compared and shown."""

    TEXT = "text"
    CODE = "code"  # text in a fixed-width face: ids, names of topics
    INTEGER = "integer"
    NUMBER = "number"
    BYTES = "bytes"  # a size
    SECONDS = "seconds"  # a duration
    TIME = "time"  # UNIX seconds
    FLAG = "flag"
    STATE = "state"  # one of few words, shown as a badge
    JSON = "json"  # anything, shown as text
    PICTURE = "picture"  # a list of numbers, shown as a sparkline; exported as JSON


class Personal(enum.StrEnum):
    """What kind of personal data a column or a field of an event is, as `view.mask` names it."""

    EMAIL = "email"
    PHONE = "phone"
    HWID = "hwid"
    USER_ID = "user_id"
    PAYLOAD = "payload"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a source of rows.

    ``name`` is its key in rows, JSON, CSV and URLs; ``help`` one sentence for people; ``link`` a URL in which ``{name}`` of
    any column of the row may stand; ``is_wide`` says that it is left out of the HTML table unless asked for.

    ``personal`` is what all of it is. What cannot be told so beforehand: ``is_raw`` for words of a record as it came, which
    whoever may not see all that is in one does not see; ``is_quoting`` for words of others, in which addresses of e-mail are
    masked.
    """

    name: str
    title: str
    kind: Kind = Kind.TEXT
    help: str = ""
    is_sortable: bool = True
    is_wide: bool = False
    personal: Personal | None = None
    is_raw: bool = False
    is_quoting: bool = False
    link: str = ""


Row = dict[str, Any]
"""A row: values by column name; what is unknown is ``None``. Values are what JSON can hold."""

Columns = tuple[Column, ...]


def column_named(columns: Columns, name: str) -> Column | None:
    """The column with this name, if there is one."""
    return next((column for column in columns if column.name == name), None)
