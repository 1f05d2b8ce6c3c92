"""A broker and a folder for each test of the chunk engine."""

from collections.abc import AsyncIterator

import pytest

from tests.support.chunk_worker import Broker


@pytest.fixture
async def broker(kafka: str) -> AsyncIterator[Broker]:
    async with Broker(kafka) as broker:
        yield broker
