"""Trying a receiver: the only part of this package that opens connections."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from multidict import CIMultiDict

from pipeline.clock import Clock, SystemClock
from pipeline.conform.checks import FIRST_CHECK, Check, checks_of
from pipeline.conform.compose import Composer, Wire
from pipeline.conform.judge import Grade, Reply
from pipeline.conform.report import Line, Report, about_answers, about_transport, judged, untried
from pipeline.net.client import ANSWER_READ_BYTES, Endpoint, HttpClient, NoAnswer
from pipeline.net.mask import Mask

Send = Callable[[Wire], Awaitable[Reply]]


class Sender:
    """Sends requests to one endpoint. ``secrets`` are not shown where an answer holds them."""

    def __init__(self, client: HttpClient, endpoint: Endpoint, secrets: Iterable[str] = ()) -> None:
        self._client = client
        self._endpoint = endpoint
        self._mask = Mask(secrets)

    async def send(self, wire: Wire) -> Reply:
        """Send ``wire``; whatever comes of it is the reply."""
        started_s = time.monotonic()
        headers = CIMultiDict(wire.headers)
        if wire.pieces == 1:
            answer = await self._client.post(self._endpoint, headers, wire.body, head_bytes=ANSWER_READ_BYTES)
        else:
            headers["Content-Length"] = str(len(wire.body))
            answer = await self._client.post(self._endpoint, headers, _in_pieces(wire), head_bytes=ANSWER_READ_BYTES)
        # What a slow sender takes is not the receiver's time.
        duration_s = max(0.0, time.monotonic() - started_s - (wire.pieces - 1) * wire.pause_s)
        if isinstance(answer, NoAnswer):
            return Reply(None, duration_s, self._mask.hide(answer.detail))
        return Reply(answer.status, duration_s, head=self._mask.hide(answer.head.decode("utf-8", "replace")))


async def conform(composer: Composer, send: Send, *, origin: str, max_s: float, clock: Clock | None = None) -> Report:
    """Try a receiver with everything that its kind is tried with, beginning nothing after ``max_s``.

    ``origin`` is the receiver's scheme, host and port. What is not tried any more stands in the report as such.
    """
    clock = clock or SystemClock()
    started_s = clock.monotonic_s()
    checks, skipped = checks_of(composer)
    lines: list[Line] = [about_transport(origin)]
    good: list[Reply] = []
    requests = 0
    why_not = ""
    for check in checks:
        if not why_not and clock.monotonic_s() - started_s > max_s:
            why_not = f"not tried: the {max_s:g} s for the whole run were used up"
        if why_not:
            lines.append(untried(check, why_not))
            continue
        replies = await _replies(check, composer, send, clock.wall_s())
        requests += len(replies)
        lines.append(judged(check, replies))
        if check.is_good:
            good += [reply for reply in replies if reply.is_success]
        if check.name == FIRST_CHECK and lines[-1].grade is Grade.FAIL:
            why_not = f"not tried, since {FIRST_CHECK} is not taken"
    lines += about_answers(good)
    lines += [Line(Grade.SKIP, each.name, "", "", each.why) for each in skipped]
    return Report(origin, composer.form.kind, tuple(lines), requests, clock.monotonic_s() - started_s, bool(why_not))


async def _replies(check: Check, composer: Composer, send: Send, now_s: float) -> list[Reply]:
    replies: list[Reply] = []
    for stage in check.make(composer, now_s):
        replies += await asyncio.gather(*(send(wire) for wire in stage))
    return replies


async def _in_pieces(wire: Wire) -> AsyncIterator[bytes]:
    step = -(-len(wire.body) // wire.pieces)
    for start in range(0, len(wire.body), step):
        if start:
            await asyncio.sleep(wire.pause_s)
        yield wire.body[start : start + step]
