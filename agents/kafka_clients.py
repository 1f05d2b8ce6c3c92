"""Starting Kafka clients beside the worker's own."""

from typing import Any, Protocol


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
