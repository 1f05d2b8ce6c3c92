"""An examination as lines for a terminal of 80 columns. What endpoints have said is shown without control characters."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

from pipeline.doctor.step import Examination, State, Step
from pipeline.doctor.target import Target
from pipeline.model.integration import Integration

COLUMNS: Final = 80

_MARKS: Final = {State.GOOD: "good", State.WARNING: "LOOK", State.BAD: "BAD", State.SKIPPED: "-"}
_INDENT: Final = " " * 30


def headline(integration: Integration, target: Target) -> str:
    """What is examined: id, kind and place."""
    return _cut(f"{integration.id}: {integration.kind} to {target.place}")


def lines_of(step: Step) -> list[str]:
    """A line for the step, with its time, and more where there is more to say."""
    took = f"{step.duration_s * 1000:,.0f} ms" if step.state is not State.SKIPPED else ""
    head = f"  {_MARKS[step.state]:<5}{step.name:<14}{took:>8} "
    lines = textwrap.wrap(printable(step.text), COLUMNS, initial_indent=head, subsequent_indent=_INDENT)
    if step.advice:
        lines += textwrap.wrap(
            printable(step.advice), COLUMNS, initial_indent=f"{_INDENT}-> ", subsequent_indent=f"{_INDENT}   "
        )
    return lines


def verdict(examination: Examination) -> str:
    """The last line of a single examination."""
    match examination.state:
        case State.GOOD:
            return "all is well"
        case State.WARNING:
            return "it works, but something needs to be looked at"
        case _:
            return "something is wrong"


def table(examinations: Sequence[Examination], left_out: Iterable[str] = ()) -> list[str]:
    """One line an integration, those in trouble with what is wrong; ``left_out`` are ids that were not examined."""
    names = [examination.integration for examination in examinations] + [*left_out]
    width = min(max(map(len, ["integration", *names])), 24)
    lines = [f"{'':<5}{'integration':<{width}}  {'kind':<11} what is wrong"]
    for examination in examinations:
        trouble = examination.trouble
        found = "" if trouble is None else f"{trouble.name}: {printable(trouble.text)}"
        head = f"{_MARKS[examination.state]:<5}{_cut(examination.integration, width):<{width}}  {examination.kind:<11} "
        lines.append(_cut(f"{head}{found}").rstrip())
    lines += [f"{_MARKS[State.SKIPPED]:<5}{_cut(name, width):<{width}}  {'':<11} not enabled" for name in left_out]
    return lines


def printable(text: str) -> str:
    """``text`` in one line, without what could command a terminal."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


def _cut(text: str, columns: int = COLUMNS) -> str:
    return text if len(text) <= columns else f"{text[: columns - 1]}…"
