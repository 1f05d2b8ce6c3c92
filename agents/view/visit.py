"""What handlers of the view are given, and what they may answer beside a page."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.view.columns import Personal
from pipeline.view.formats.html import filled
from pipeline.view.query import ALL_ROWS
from pipeline.view.roles import Person


@dataclass(slots=True)
class Visit:
    """One request, after sign-in and all checks.

    ``match`` are the parts of the path, decoded; ``parameters`` those of the URL; ``masks`` what the person sees only as tags.
    ``form`` are the fields of a form (the last of each name; ``form_pairs`` are all, in order), empty where the body is
    anything else; ``body`` is the body as it came; ``format`` is ``html``, ``json`` or ``csv``. ``address`` is the client's,
    for the audit log. ``headers`` are by lower-case name.
    """

    match: dict[str, str]
    parameters: list[tuple[str, str]]
    person: Person
    masks: frozenset[Personal]
    now_s: float
    form: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    form_pairs: list[tuple[str, str]] = field(default_factory=list)
    format: str = "html"
    path: str = "/"
    prefix: str = ""
    address: str = ""
    promised: asyncio.Event = field(default_factory=asyncio.Event)

    def promise(self) -> None:
        """Say that there will be a page: nothing that was asked can be wrong any more. Where it takes long, it is begun."""
        self.promised.set()

    def parameter(self, name: str, default: str = "") -> str:
        """The last value of a parameter."""
        return next((value for key, value in reversed(self.parameters) if key == name), default)

    @property
    def is_export(self) -> bool:
        """Whether every row is asked for, not a page of them."""
        return self.parameter("size") == ALL_ROWS

    def url_for(self, path: str, **values: Any) -> str:
        """A URL within the view, for links in facts and for ``Done.location``; as templates have it."""
        return self.prefix + filled(path, values)


class Done(NamedTuple):
    """What came of an act: a sentence, and where to look next (a URL of ``visit.url_for``).

    A form is answered with a redirection to ``location``, or back to where it was, where ``message`` is shown once;
    anything else gets ``{"message": ..., **body}`` with ``status`` and ``headers``, and ``Location`` where there is one.
    """

    message: str
    location: str = ""
    body: Mapping[str, Any] = {}
    status: int = 200
    headers: Mapping[str, str] = {}


class Content(NamedTuple):
    """Anything else, such as a file to keep: ``filename`` makes browsers store it rather than show it."""

    body: bytes | AsyncIterator[bytes]
    content_type: str
    filename: str = ""
    status: int = 200
    headers: Mapping[str, str] = {}
