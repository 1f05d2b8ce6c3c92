"""What Segment's answers mean, for one call and for the several that a batch may take."""

import codecs
import re
from typing import Final

import msgspec

from pipeline.model.attempt import Hint, Outcome, Refusal, Verdict
from pipeline.model.ranges import numbers_in, ranges_of
from pipeline.net.client import Answer
from pipeline.net.json_answer import NO_JSON, json_of
from pipeline.net.retry_after import LONGEST_RETRY_AFTER_S, retry_after_s
from pipeline.sinks.segment_message import Plan

_CONCERNS_MORE: Final = frozenset({Hint.GONE, Hint.UNAUTHORIZED, Hint.TOO_LARGE})
_UNIX_S_DIGITS: Final = 10
_SAYS_NO: Final = re.compile(rb'"success"\s*:\s*false')


def understood(outcome: Outcome, answer: Answer, *, now_s: float) -> Outcome:
    """``outcome``, made from the status and ``Retry-After`` of ``answer``, after a look at what Segment says besides.

    A pause may also stand in ``X-RateLimit-Reset``. And a 200 whose JSON says that it was no success is a refusal.
    """
    if outcome.verdict is Verdict.RETRY and outcome.retry_after_s is None:
        return msgspec.structs.replace(outcome, retry_after_s=_reset_s(answer.rate_limit_reset, now_s=now_s))
    if outcome.verdict is Verdict.DELIVERED and _says_failure(answer.head):
        detail = f"{outcome.detail}, and says in its body that it has not taken the events"
        return msgspec.structs.replace(outcome, verdict=Verdict.REFUSED, detail=detail)
    return outcome


def ends_the_try(outcome: Outcome) -> bool:
    """Whether no further call is made after one with ``outcome``.

    A refusal concerns the events of its call alone, unless it is one of credentials, of the endpoint or of the size.
    """
    return outcome.verdict is Verdict.RETRY or (outcome.verdict is Verdict.REFUSED and outcome.hint in _CONCERNS_MORE)


def outcome_of(plan: Plan, outcomes: list[Outcome], *, duration_s: float) -> Outcome:
    """What a try means whose calls, as many of ``plan`` as were made, had ``outcomes``; it took ``duration_s`` in all."""
    if len(plan.calls) == 1 and not plan.refused:
        return msgspec.structs.replace(outcomes[0], duration_s=duration_s)
    arrived: list[int] = []
    refused = list(plan.refused)
    failure: Outcome | None = None
    for call, outcome in zip(plan.calls, outcomes, strict=False):
        if outcome.verdict is Verdict.DELIVERED:
            arrived.extend(numbers_in(call.ranges))
        elif ends_the_try(outcome):
            failure = outcome
        else:
            refused.extend(Refusal(first, end, outcome.detail) for first, end in call.ranges)
    refused.sort(key=lambda refusal: refusal.first)
    event_count = sum(len(call.messages) for call in plan.calls) + len(plan.refused)
    if failure is not None:
        result = failure
        detail = f"{failure.detail} ({len(arrived)} of {event_count} events have arrived)"
    elif len(outcomes) < len(plan.calls):
        result = msgspec.structs.replace(outcomes[-1], verdict=Verdict.RETRY, hint=None)
        detail = f"{len(arrived)} of {event_count} events have arrived, the others are left: their partition leaves this worker"
    elif refused:
        result = next((each for each in outcomes if each.verdict is Verdict.REFUSED), Outcome(Verdict.REFUSED, ""))
        refused_count = sum(refusal.end - refusal.first for refusal in refused)
        detail = f"{refused_count} of {event_count} events were refused, the first: event {refused[0].first}: {refused[0].detail}"
    else:
        result = outcomes[-1]
        detail = f"{event_count} events have arrived, in {len(outcomes)} requests"
    return msgspec.structs.replace(
        result,
        detail=detail,
        arrived=() if result.verdict is Verdict.DELIVERED else ranges_of(arrived),
        refused=tuple(refused),
        is_cut_short=len(outcomes) < len(plan.calls),
        is_left=len(outcomes) < len(plan.calls) and failure is None,
        duration_s=duration_s,
        request_bytes=sum(outcome.request_bytes for outcome in outcomes),
        answer_bytes=sum(outcome.answer_bytes for outcome in outcomes),
    )


def _reset_s(value: str | None, *, now_s: float) -> float | None:
    """The pause of ``X-RateLimit-Reset``: seconds, or the UNIX seconds at which it ends, as some gateways have it."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit() and len(text) == _UNIX_S_DIGITS:
        return min(max(0.0, int(text) - now_s), LONGEST_RETRY_AFTER_S)
    return retry_after_s(value, now_s=now_s)


def _says_failure(body: bytes) -> bool:
    if not body.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        return False
    try:
        told = json_of(body)
    except NO_JSON:
        return _SAYS_NO.search(body) is not None
    return told.get("success", True) is False or bool(told.get("error"))
