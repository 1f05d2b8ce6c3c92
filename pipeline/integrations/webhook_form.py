"""The form of an inbound webhook: what people fill in, as settings of ``faust.yml``, and back.

A submitted form is flat: texts by the names of inputs. Each attribute that is filled from the payload has two, ``row.N.attribute``
and ``row.N.path``; a row with nothing in either is no row. Nothing is checked here but what the settings could not say: the
rest is read like a configuration, whose mistakes go back to their inputs.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from pipeline.inbound.path import SampleField, paths_of
from pipeline.inbound.settings import read_sample
from pipeline.integrations.form_values import ON, FormMistakes

MOST_ROWS: Final = 200
SPARE_ROWS: Final = 1
FIRST_ROWS: Final = 3
"""Empty rows of a form that has no others."""

PLAIN: Final = ("id", "name", "event", "application", "platform", "identify.by", "identify.field", "sample")
"""The inputs that hold one text each."""

Problems = list[tuple[str, str]]
"""Keys, with dots, and what is wrong with them."""

_ROW: Final = re.compile(r"row\.([0-9]{1,4})\.(attribute|path)")


class AttributeRow(NamedTuple):
    """An event attribute, and the path in the payload that fills it; either may be missing yet."""

    attribute: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class WebhookDraft:
    """A form as it is filled in: ``texts`` by the names of ``PLAIN``, then the rows."""

    texts: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[AttributeRow, ...] = ()
    is_enabled: bool = True

    def text(self, name: str) -> str:
        """What an input holds, without the white space around it."""
        return self.texts.get(name, "").strip()

    def with_spare_rows(self) -> "WebhookDraft":
        """With empty rows at the end to fill in."""
        filled = tuple(row for row in self.rows if row != AttributeRow())
        spare = SPARE_ROWS if filled else FIRST_ROWS
        return replace(self, rows=(*filled, *[AttributeRow()] * spare)[:MOST_ROWS])

    def with_row(self) -> "WebhookDraft":
        """With one empty row more."""
        return replace(self, rows=(*self.rows, AttributeRow())[:MOST_ROWS])

    def without_row(self, number: int) -> "WebhookDraft":
        """Without the row of this number, from 0."""
        return replace(self, rows=(*self.rows[:number], *self.rows[number + 1 :]))


class Sample(NamedTuple):
    """A sample payload, read: what it holds, the fields that can be mapped, or why it cannot be used (``problem``)."""

    payload: Mapping[str, Any] = {}
    fields: tuple[SampleField, ...] = ()
    problem: str = ""


def read_draft(given: Mapping[str, str]) -> WebhookDraft:
    """The form that was submitted."""
    rows: dict[int, dict[str, str]] = {}
    for name, value in given.items():
        found = _ROW.fullmatch(name)
        if found is not None:
            rows.setdefault(int(found[1]), {})[found[2]] = value.strip()
    return WebhookDraft(
        {name: given[name] for name in PLAIN if name in given},
        tuple(AttributeRow(**rows[number]) for number in sorted(rows))[:MOST_ROWS],
        given.get("enabled", "") == ON,
    )


def draft_of(settings: Mapping[str, Any]) -> WebhookDraft:
    """The form of settings as they are."""
    identify = settings.get("identify")
    texts = {name: str(settings[name]) for name in PLAIN if settings.get(name) is not None}
    if isinstance(identify, Mapping):
        texts |= {f"identify.{key}": str(identify[key]) for key in ("by", "field") if identify.get(key) is not None}
    attributes = settings.get("attributes") or {}
    rows = tuple(AttributeRow(str(name), str(path)) for name, path in attributes.items())
    return WebhookDraft(texts, rows, settings.get("enabled") is not False)


def settings_of_draft(draft: WebhookDraft) -> tuple[dict[str, Any], Problems]:
    """The settings that a form means, and what the settings could not say is wrong with its rows.

    An empty text is an absent key.
    """
    settings: dict[str, Any] = {"enabled": draft.is_enabled}
    for name in PLAIN:
        text = draft.text(name)
        if not text:
            continue
        section, dot, key = name.partition(".")
        if dot:
            settings.setdefault(section, {})[key] = text
        else:
            settings[name] = text
    attributes: dict[str, str] = {}
    problems: Problems = []
    for number, (attribute, path) in enumerate(draft.rows):
        if not attribute and not path:
            continue
        if not attribute:
            problems.append((f"row.{number}.attribute", "is missing: the event attribute that the field fills"))
        elif not path:
            problems.append((f"row.{number}.path", "is missing: the payload field that fills the attribute"))
        elif attribute in attributes:
            problems.append((f"row.{number}.attribute", f"{attribute[:80]} is filled by another row already"))
        else:
            attributes[attribute] = path
    settings["attributes"] = attributes
    return settings, problems


def mistakes_of_draft(draft: WebhookDraft, problems: Iterable[tuple[str, str]]) -> FormMistakes:
    """Find the inputs of ``problems``."""
    by_input: dict[str, list[str]] = {}
    elsewhere: Problems = []
    for key, problem in problems:
        name = _input_of(draft, key)
        if name:
            by_input.setdefault(name, []).append(problem)
        else:
            elsewhere.append((key, problem))
    return FormMistakes({name: tuple(found) for name, found in by_input.items()}, tuple(elsewhere))


def _input_of(draft: WebhookDraft, key: str) -> str:
    if key in PLAIN or _ROW.fullmatch(key):
        return key
    if key == "identify":
        return "identify.field"
    name = key.removeprefix("attributes.")
    if name != key:
        for number, row in enumerate(draft.rows):
            if row.attribute == name:
                return f"row.{number}.path"
    return ""


def sample_of(text: str) -> Sample:
    """Read a sample that was pasted; an empty one has no fields, and no problem."""
    if not text.strip():
        return Sample()
    try:
        payload = read_sample(text)
        return Sample(payload, tuple(paths_of(payload)))
    except ValueError as error:
        return Sample(problem=str(error))
    except RecursionError:
        return Sample(problem="is nested too deep")
