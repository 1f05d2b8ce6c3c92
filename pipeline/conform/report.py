"""What is told of a run: a table for people, JSON for machines."""

import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from pipeline.conform.checks import Check
from pipeline.conform.judge import PASSED, Finding, Grade, Reply, came_of, is_quick, seconds
from pipeline.sinks.failed_events import named_failures

WIDTH: Final = 80
_NAME_CHARS: Final = 26
_EXPECTED_CHARS: Final = 9
_INDENT: Final = " " * 8


class Line(NamedTuple):
    """One line: how the receiver fared in what, what was expected and what came, and what to do about it."""

    grade: Grade
    name: str
    expected: str
    came: str
    advice: str = ""


class Report(NamedTuple):
    """Everything about one run. ``was_cut_short`` is set where not all checks were tried."""

    origin: str
    kind: str
    lines: tuple[Line, ...]
    requests: int
    duration_s: float
    was_cut_short: bool

    @property
    def is_passed(self) -> bool:
        """Whether the receiver can be sent to: everything was tried, and nothing failed."""
        return not self.was_cut_short and all(line.grade is not Grade.FAIL for line in self.lines)

    def as_json(self) -> str:
        """The report as one JSON object."""
        content: dict[str, Any] = {
            "receiver": self.origin,
            "kind": self.kind,
            "passed": self.is_passed,
            "requests": self.requests,
            "duration_s": round(self.duration_s, 3),
            "checks": [line._asdict() for line in self.lines],
        }
        return json.dumps(content, indent=1, ensure_ascii=False)

    def as_table(self) -> str:
        """The report as lines of at most 80 characters."""
        lines = [_row("", "check", "expected", "came").rstrip(), "-" * WIDTH]
        for line in self.lines:
            lines.append(_row(line.grade.value.upper(), line.name, line.expected, line.came).rstrip())
            lines += textwrap.wrap(line.advice, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
        lines += ["-" * WIDTH, *textwrap.wrap(self._summary(), WIDTH)]
        return "\n".join(lines)

    def _summary(self) -> str:
        counts = Counter(line.grade for line in self.lines)
        words = {Grade.PASS: "passed", Grade.WARN: "with a warning", Grade.FAIL: "failed", Grade.SKIP: "not tried"}
        said = ", ".join(f"{counts[grade]} {word}" for grade, word in words.items() if counts[grade])
        return f"{self.origin}: {said}; {self.requests} requests in {seconds(self.duration_s)}"


def judged(check: Check, replies: Sequence[Reply]) -> Line:
    """The line of a check that was tried."""
    finding = check.judge(replies)
    return Line(finding.grade, check.name, check.expected, came_of(replies), finding.advice)


def untried(check: Check, why: str) -> Line:
    """The line of a check that was not tried."""
    return Line(Grade.SKIP, check.name, check.expected, "", why)


def about_transport(origin: str) -> Line:
    """Whether what is sent can be read on the way."""
    scheme = origin.partition(":")[0]
    if scheme == "https":
        return Line(Grade.PASS, "transport", "https", scheme)
    advice = (
        "Events and credentials can be read on the way: workers refuse such a URL unless outbound.allow_http is set."
    )
    return Line(Grade.WARN, "transport", "https", scheme, advice)


def about_answers(replies: Sequence[Reply]) -> list[Line]:
    """What the answers to good requests show when they are looked at together."""
    if not replies:
        return []
    slowest_s = max(reply.duration_s for reply in replies)
    quick = is_quick(slowest_s)
    failed = sum(failed_in(reply.head) for reply in replies)
    whole = PASSED if not failed else Finding(Grade.WARN, _PARTIAL)
    return [
        Line(quick.grade, "answer time", "under 5 s", f"{seconds(slowest_s)} at most", quick.advice),
        Line(whole.grade, "named as failed", "no event", f"{failed} events" if failed else "no event", whole.advice),
    ]


_PARTIAL: Final = (
    'An answer held {"failed": [...]}: the events that it names are sent again alone. '
    "Good events were refused here: look why, or leave such a key out of answers."
)


def failed_in(head: str) -> int:
    """How many events the answer that begins with ``head`` names as failed."""
    found = named_failures(head.encode("utf-8", "replace"))
    return 0 if found is None else len(found.details) + found.unreadable


def _row(grade: str, name: str, expected: str, came: str) -> str:
    return f"{grade:<{len(_INDENT) - 2}}  {name:<{_NAME_CHARS}}{expected:<{_EXPECTED_CHARS}}  {came}"[:WIDTH]
