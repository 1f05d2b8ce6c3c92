"""One stream's traffic: events are written while answers are read, and the end is drawn from both."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from pipeline.model.attempt import Outcome, Refusal, Verdict
from pipeline.model.batch import Batch
from pipeline.model.ranges import count_of, without
from pipeline.sinks.base import Leaving
from pipeline.sinks.grpc_answers import Answers, count_refused, merged
from pipeline.sinks.grpc_ending import GARBAGE, LEFT_OPEN, Ending
from pipeline.sinks.grpc_events import Framing, messages_of
from pipeline.wire.distributary.eventstream.v1.event_stream_pb2 import DeliverResponse

_CLOSING_S: Final = 5.0
_SHOWN_ANSWERS: Final = 10
_ANSWER_HEAD_CHARS: Final = 1024

Call = grpc.aio.StreamStreamCall[bytes, bytes]


class Exchange:
    """One try to deliver ``batch``. ``masked`` takes secrets out of what the endpoint said.

    Where partitions are ``leaving``, nothing is written after the message that is: what is answered until the end is settled.
    """

    def __init__(self, batch: Batch, framing: Framing, masked: Callable[[str], str], leaving: Leaving) -> None:
        self._batch = batch
        self._leaving = leaving
        self._framing = framing
        self._given_up: list[Refusal] = []
        self._messages = messages_of(batch, framing, self._given_up)
        self._next = next(self._messages, None)
        self._answers = Answers(masked)
        self._is_written = False
        self._is_cut_short = False
        self._complete = asyncio.Event()
        self._began_s = time.monotonic()
        self._request_bytes = 0
        self._answer_bytes = 0

    @property
    def has_events(self) -> bool:
        """Whether there is anything that can be sent."""
        return self._next is not None

    def passed_s(self) -> float:
        """Seconds since this try began."""
        return time.monotonic() - self._began_s

    async def run(self, call: Call) -> Ending | None:
        """Send everything and take the answers; ``None`` where the final status of ``call`` tells how it ended."""
        reading = asyncio.get_running_loop().create_task(self._read(call))
        try:
            await self._write(call)
            self._is_written = True
            self._look_whether_complete()
            await self._until_complete(reading)
            if not reading.done():
                await asyncio.wait({reading}, timeout=_CLOSING_S)
            return reading.result() if reading.done() else LEFT_OPEN
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    def shrink(self, max_message_bytes: int) -> None:
        """The endpoint takes no larger messages: events that need one are given up, the others are left for another try."""
        self._given_up.clear()
        for _ in messages_of(self._batch, self._framing._replace(max_bytes=max_message_bytes), self._given_up):
            pass

    def lateness(self, timeout_s: float) -> str:
        """What to say where time was up."""
        open_count = count_of(without(self._batch.ranges, self._answers.answered))
        if open_count == self._batch.event_count:
            return f"no answer within {timeout_s:g} s"
        return f"{open_count} of {self._batch.event_count} events were not answered within {timeout_s:g} s"

    def outcome(self, ending: Ending) -> Outcome:
        """What came of the try."""
        arrived = self._answers.arrived
        refused = merged([*self._given_up, *self._answers.rejected()])
        left = without(without(self._batch.ranges, arrived), tuple((each.first, each.end) for each in refused))
        failed = self._answers.failed()
        is_left = self._is_cut_short and ending.is_orderly and not failed
        if left:
            verdict = Verdict.RETRY if failed or is_left else ending.verdict
        else:
            verdict = Verdict.REFUSED if refused else Verdict.DELIVERED
        said = [f"event {number}: {words}" for number, words in failed]
        said += [f"event {refusal.first}: {refusal.detail}" for refusal in refused]
        return Outcome(
            verdict,
            self._detail(ending, count_of(arrived), failed, refused, count_of(left)),
            status=ending.status,
            retry_after_s=ending.retry_after_s if verdict is Verdict.RETRY else None,
            duration_s=self.passed_s(),
            request_bytes=self._request_bytes,
            answer_bytes=self._answer_bytes,
            answer_head=("\n".join(said[:_SHOWN_ANSWERS]) or ending.words)[:_ANSWER_HEAD_CHARS],
            hint=ending.hint if left else None,
            arrived=() if verdict is Verdict.DELIVERED else arrived,
            refused=refused,
            is_cut_short=self._is_cut_short,
            is_left=is_left,
            is_unanswered=ending.is_silence and not self._answer_bytes,
        )

    def _detail(
        self,
        ending: Ending,
        arrived: int,
        failed: list[tuple[int, str]],
        refused: tuple[Refusal, ...],
        left: int,
    ) -> str:
        count = self._batch.event_count
        parts = []
        if left and not ending.is_orderly:
            parts.append(f"{ending.detail} ({arrived} of {count} events have arrived)" if arrived else ending.detail)
        if failed:
            number, words = failed[0]
            parts.append(f"{len(failed)} of {count} events were not taken, the first: event {number}: {words}")
        if self._is_cut_short and ending.is_orderly:
            parts.append(
                f"{arrived} of {count} events have arrived, others are left: their partition leaves this worker"
            )
        elif left > len(failed) and ending.is_orderly:
            parts.append(f"{left - len(failed)} of {count} events were not answered")
        if refused:
            first = refused[0]
            parts.append(
                f"{count_refused(refused)} of {count} events are given up, the first: event {first.first}: {first.detail}"
            )
        if not parts:
            parts.append(f"{arrived} events have arrived")
        if not left and self._answers.answered and (not ending.is_orderly or ending is LEFT_OPEN):
            parts.append(ending.detail)
        return "; ".join([*parts, *self._answers.oddities()])

    async def _write(self, call: Call) -> None:
        try:
            await call.wait_for_connection()
            while self._next is not None and not call.done():
                self._answers.expect(self._next.events)
                await _send(call, self._next.content)
                self._request_bytes += len(self._next.content)
                self._next = next(self._messages, None)
                if self._leaving.is_on and self._next is not None:
                    self._is_cut_short = True
                    break
            await call.done_writing()
        except (grpc.aio.AioRpcError, grpc.aio.InternalError):
            pass  # the stream has ended, which its status tells

    async def _read(self, call: Call) -> Ending | None:
        try:
            while isinstance(content := await call.read(), bytes):
                self._answer_bytes += len(content)
                self._answers.take(DeliverResponse.FromString(content).results)
                self._look_whether_complete()
        except grpc.aio.AioRpcError:
            pass
        except DecodeError:
            call.cancel()  # which also ends the writing
            return GARBAGE
        return None

    def _look_whether_complete(self) -> None:
        if self._is_written and self._answers.are_complete:
            self._complete.set()

    async def _until_complete(self, reading: "asyncio.Task[Ending | None]") -> None:
        complete = asyncio.get_running_loop().create_task(self._complete.wait())
        try:
            await asyncio.wait({reading, complete}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            complete.cancel()


async def _send(call: Any, content: bytes) -> None:
    """Write one message; waits while the endpoint's flow control asks for it. Raises ``grpc.aio.InternalError``.

    ``call.write`` would do, but for one thing: where the endpoint has just ended the stream, it puts INTERNAL in the place of
    the status that the endpoint gave. The call beneath it leaves the status alone.
    """
    await call._cython_call.send_serialized_message(content)  # noqa: SLF001
