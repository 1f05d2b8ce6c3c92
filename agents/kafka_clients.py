"""Starting and stopping Kafka clients beside the worker's own."""

import asyncio
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer


class Startable(Protocol):
    """What aiokafka's consumers are."""

    async def start(self) -> None: ...  # noqa: D102

    async def stop(self) -> Any: ...  # noqa: D102


async def start_whole(client: Startable) -> None:
    """Start ``client``; where it is cancelled or refused meanwhile, it does not stay half open."""
    try:
        await client.start()
    except BaseException:  # whatever it is: what was opened is closed
        await client.stop()
        raise


async def stop_whole(consumer: AIOKafkaConsumer) -> None:
    """Stop ``consumer``, also where the broker is away.

    There aiokafka waits for a fetch that it has cancelled itself, and breaks off as if its caller had been cancelled: what the
    caller was about to close next would stay open.
    """
    stopping = asyncio.ensure_future(consumer.stop())
    await asyncio.wait([stopping])
    if stopping.cancelled():
        await consumer._client.close()  # noqa: SLF001 what it had still to do
    else:
        stopping.result()
