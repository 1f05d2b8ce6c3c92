"""What a receiver's answers mean: pure rules, from statuses to a finding."""

import enum
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from pipeline.model.attempt import Verdict
from pipeline.sinks.posting import verdict_of

SLOW_S: Final = 5.0
"""An answer that takes longer than this earns a warning."""

_QUOTED_CHARS: Final = 80


class Grade(enum.StrEnum):
    """How a receiver fared in one check."""

    PASS = "pass"  # noqa: S105  no password
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


class Reply(NamedTuple):
    """What came of one request: a status, or ``None`` and in ``detail`` why none came. ``head`` is the answer's beginning."""

    status: int | None
    duration_s: float
    detail: str = ""
    head: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the sink would take the events for delivered."""
        return self.status is not None and verdict_of(self.status) is Verdict.DELIVERED

    @property
    def is_retried(self) -> bool:
        """Whether the sink would try again."""
        return self.status is None or verdict_of(self.status) is Verdict.RETRY


class Finding(NamedTuple):
    """A grade, and for people what to do about it (empty where there is nothing to do)."""

    grade: Grade
    advice: str = ""


Judge = Callable[[Sequence[Reply]], Finding]

PASSED: Final = Finding(Grade.PASS)


def takes(*, unless: str = "", softly: frozenset[int] = frozenset(), hint: str = "") -> Judge:
    """A judge that wants every request to be answered with 2xx.

    ``unless`` is the advice where a request is refused, instead of the usual one; statuses in ``softly`` are a warning only,
    with ``hint`` as advice.
    """

    def judge(replies: Sequence[Reply]) -> Finding:
        bad = next((reply for reply in replies if not reply.is_success), None)
        if bad is None:
            return PASSED
        if bad.status in softly:
            return Finding(Grade.WARN, hint + _quoted(bad))
        return Finding(Grade.FAIL, (_why_not_taken(bad, unless)) + _quoted(bad))

    return judge


def refuses(advice: str, *, grade: Grade = Grade.FAIL) -> Judge:
    """A judge that wants every request to be refused for good; ``advice`` and ``grade`` are for one that is taken."""

    def judge(replies: Sequence[Reply]) -> Finding:
        if any(reply.is_success for reply in replies):
            return Finding(grade, advice)
        if any(reply.is_retried for reply in replies):
            return Finding(
                Grade.WARN, "Answer such a request with 400 or 401: what was answered here has it sent again and again."
            )
        return PASSED

    return judge


def is_quick(slowest_s: float) -> Finding:
    """The finding on the slowest answer to a good request."""
    if slowest_s <= SLOW_S:
        return PASSED
    return Finding(
        Grade.WARN,
        "Answer as soon as the events are safe, and do the work afterwards: a request that takes longer than the "
        "integration's timeout (30 s unless set otherwise) is sent again.",
    )


def came_of(replies: Sequence[Reply]) -> str:
    """What came, in a few words: the statuses, and how long the slowest took."""
    if not replies:
        return ""
    kinds = list(dict.fromkeys("no answer" if reply.status is None else str(reply.status) for reply in replies))
    counts = [
        sum(kind == ("no answer" if reply.status is None else str(reply.status)) for reply in replies) for kind in kinds
    ]
    said = ", ".join(f"{count} x {kind}" if count > 1 else kind for kind, count in zip(kinds, counts, strict=True))
    return f"{said} in {seconds(max(reply.duration_s for reply in replies))}"


def seconds(duration_s: float) -> str:
    """A duration for people."""
    return f"{duration_s * 1000:.0f} ms" if duration_s < 1 else f"{duration_s:.1f} s"


def _why_not_taken(reply: Reply, unless: str) -> str:  # noqa: PLR0911  one line a reason
    match reply.status:
        case None:
            return f"No answer: {reply.detail}."
        case status if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return "Redirects are not followed, and the events would be parked: name the URL where it leads."
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN if not unless:
            return "The credentials are refused: give the ones that the receiver expects (--secret, --authorization)."
        case status if status < HTTPStatus.OK:
            return "This status is no final answer."
        case _ if unless:
            return unless
        case _ if reply.is_retried:
            return "Such an answer has the events sent again, until the tries are used up and they are parked."
        case HTTPStatus.GONE:
            return "410 says that nothing is to be sent here any more: the lane would halt until somebody resumes it."
        case _:
            return "Such an answer refuses the events for good, and they would be parked: answer 2xx."


def _quoted(reply: Reply) -> str:
    text = " ".join("".join(character if character.isprintable() else " " for character in reply.head).split())
    if not text:
        return ""
    return f' It said: "{text if len(text) <= _QUOTED_CHARS else text[: _QUOTED_CHARS - 1] + "…"}"'
