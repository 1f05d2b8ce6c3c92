"""gRPC on an event loop that has other things to do."""

import asyncio
import socket
import time

from pipeline.model.attempt import Verdict
from pipeline.net.grpc_wakeups import drained_wakeups
from pipeline.receiver.grpc_receiver import GrpcReceiver
from pipeline.sinks.grpc import SPEC
from tests.contract.test_every_sink import NOW_S, sink_to
from tests.support.grpc_batches import batch_of

STREAMS, BATCHES, EVENTS = 20, 3, 50
TURN_S = 0.002
MOST_TURNS_A_BATCH = 100
"""Each event is written in a turn of its own, read by its receiver in another, and so on: 20 to 40 where 20 batches share the
turns. Where a turn takes one wake-up only, the first batches have not arrived when their time is up."""


async def test_batches_take_few_turns_of_a_busy_loop() -> None:
    turns = 0

    async def busy() -> None:
        nonlocal turns
        while True:
            turns += 1
            until_s = time.perf_counter() + TURN_S
            while time.perf_counter() < until_s:
                pass
            await asyncio.sleep(0)

    receiver = GrpcReceiver()
    await receiver.start()
    try:
        async with sink_to(SPEC, receiver.url) as sink:
            assert (await sink.send(batch_of(1, lane="first"), now_s=NOW_S)).verdict is Verdict.DELIVERED
            other_work = asyncio.create_task(busy())

            async def deliver(first: int) -> None:
                for number in range(BATCHES):
                    batch = batch_of(EVENTS, first=first + number * EVENTS)
                    assert (await sink.send(batch, now_s=NOW_S)).verdict is Verdict.DELIVERED

            await asyncio.gather(*(deliver(stream * BATCHES * EVENTS) for stream in range(STREAMS)))
            other_work.cancel()
    finally:
        await receiver.stop()
    assert turns < MOST_TURNS_A_BATCH * STREAMS * BATCHES


async def test_of_many_wake_ups_that_wait_a_few_are_left_to_the_reader() -> None:
    loop = asyncio.get_running_loop()
    reading, writing = socket.socketpair()
    reading.setblocking(False)
    left: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        left.set_result(reading.recv(100))
        loop.remove_reader(reading)

    with drained_wakeups():
        loop.add_reader(reading, read)
    writing.send(b"1" * 80)
    assert await left == b"1" * 8
    reading.close()
    writing.close()


async def test_a_loop_is_as_it_was_afterwards() -> None:
    loop = asyncio.get_running_loop()
    before = loop.add_reader
    with drained_wakeups():
        pass
    assert loop.add_reader == before
