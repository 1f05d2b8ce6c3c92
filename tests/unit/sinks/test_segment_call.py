import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipeline.model.attempt import Outcome, Verdict
from pipeline.net.client import Answer
from pipeline.sinks import segment_call
from pipeline.sinks.segment_call import Carried, Carry, SharedThreads, call_segment

OK: Carried = (Outcome(Verdict.DELIVERED, "200", status=200), Answer(200, None, b"", 0))


@pytest.fixture
async def threads() -> AsyncIterator[ThreadPoolExecutor]:
    shared = SharedThreads(4)
    yield shared.join()
    shared.leave()


class Carrier:
    """Takes down what it is given to send."""

    def __init__(self, carried: Carried = OK) -> None:
        self.sent: list[tuple[bytes, Mapping[str, str]]] = []
        self._carried = carried

    async def __call__(self, body: bytes, headers: Mapping[str, str]) -> Carried:
        self.sent.append((body, headers))
        return self._carried


class SlowToWrite(dict[str, Any]):
    """A message that is written as JSON only once it may be."""

    def __init__(self, has_begun: Callable[[], None]) -> None:
        super().__init__(a=1)
        self.may_go_on = threading.Event()
        self._has_begun = has_begun

    def items(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        self._has_begun()
        assert self.may_go_on.wait(5)
        yield "a", 1


async def call(carrier: Carry, threads: ThreadPoolExecutor, message: dict[str, Any] | None = None) -> Carried:
    return await call_segment(
        carrier,
        threads,
        write_key="k",
        base_url="https://segment.example",
        timeout_s=5.0,
        content={"batch": [message or {}], "sentAt": "now"},
    )


@pytest.mark.parametrize("status", [200, 204, 301, 400, 429, 500])
async def test_what_was_carried_comes_back_whatever_the_library_makes_of_it(
    threads: ThreadPoolExecutor, status: int
) -> None:
    carried: Carried = (Outcome(Verdict.REFUSED, "told", status=status), Answer(status, None, b"x", 1))
    assert await call(Carrier(carried), threads) == carried


async def test_no_answer_comes_back_too(threads: ThreadPoolExecutor) -> None:
    carried: Carried = (Outcome(Verdict.RETRY, "no answer"), None)
    assert await call(Carrier(carried), threads) == carried


async def test_a_request_that_is_never_over_is_an_outcome(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_call, "_SPARE_S", -4.9)
    is_given_up = asyncio.Event()

    async def never_over(_: bytes, __: Mapping[str, str]) -> Carried:
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            is_given_up.set()

    outcome, answer = await call(never_over, threads)
    assert (outcome.verdict, outcome.is_unanswered, answer) == (Verdict.RETRY, True, None)
    assert outcome.detail == "the request was not over within 0.1 s"
    await asyncio.wait_for(is_given_up.wait(), 20)


async def test_each_call_is_carried_by_its_own(threads: ThreadPoolExecutor) -> None:
    carriers = [Carrier() for _ in range(20)]
    await asyncio.gather(*(call(carrier, threads, {"n": n}) for n, carrier in enumerate(carriers)))
    written = [carrier.sent[0][0].partition(b"]")[0] for carrier in carriers]
    assert written == [b'{"batch": [{"n": %d}' % n for n in range(20)]


async def test_what_is_cancelled_before_it_is_written_is_never_sent(threads: ThreadPoolExecutor) -> None:
    loop, begun, carrier = asyncio.get_running_loop(), asyncio.Event(), Carrier()
    message = SlowToWrite(lambda: loop.call_soon_threadsafe(begun.set))
    calling = asyncio.create_task(call(carrier, threads, message))
    await asyncio.wait_for(begun.wait(), 20)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    message.may_go_on.set()
    await asyncio.gather(*(call(Carrier(), threads) for _ in range(4)))
    await asyncio.to_thread(threads.shutdown)
    assert carrier.sent == []


def test_threads_are_shared_until_the_last_one_leaves() -> None:
    shared = SharedThreads(2)
    first, second = shared.join(), shared.join()
    assert first is second
    shared.leave()
    assert first.submit(int).result(5) == 0
    shared.leave()
    with pytest.raises(RuntimeError):
        first.submit(int)
    assert shared.join() is not first
    shared.leave()
