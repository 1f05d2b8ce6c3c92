"""Takes fetched records out of aiokafka without making a Python object of each.

``Fetcher.fetched_records`` wraps every record in a ``ConsumerRecord`` with eleven fields, a tenth of a worker's time at full
load. The records that aiokafka's parser makes already have all that is read here: offset, timestamp, key, value, headers.
"""

import asyncio
import time
from collections.abc import Collection
from typing import Any

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CorruptRecordException

Fetched = dict[Any, list[Any]]
"""Records by partition, ascending offsets."""


async def fetched_records(fetcher: Any, partitions: Collection[Any], timeout_s: float) -> Fetched:
    """Give all records that were fetched for ``partitions``, waiting up to ``timeout_s`` for the first; as aiokafka does.

    To be called inside ``fetcher._subscriptions.fetch_context()``. Raises the ``KafkaError`` that the broker answered.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        if fetcher._subscriptions.reassignment_in_progress:
            await fetcher._subscriptions.wait_for_assignment()
        drained = _drain(fetcher, partitions)
        left_s = deadline_s - time.monotonic()
        if drained or left_s <= 0:
            return drained
        waiter = fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=left_s)
        if not done or fetcher._closed:
            waiter.cancel()
            return {}
        waiter.result()


def _drain(fetcher: Any, partitions: Collection[Any]) -> Fetched:
    drained: Fetched = {}
    for tp in list(fetcher._records):
        if tp not in partitions:
            if not fetcher._subscriptions.is_assigned(tp):
                del fetcher._records[tp]
            continue
        result = fetcher._records[tp]
        is_error = not isinstance(result, FetchResult)
        if is_error and drained:
            return drained  # the error is raised by the next call
        records = [] if is_error else _take(tp, result)
        del fetcher._records[tp]  # so that the partition is fetched again
        fetcher._notify(fetcher._wait_consume_future)
        if is_error:
            result.check_raise()
        if records:
            drained[tp] = records
    return drained


def _take(tp: Any, result: FetchResult) -> list[Any]:
    if not result.check_assignment(tp) or not result.has_more():
        return []
    fetched = result._partition_records
    # Its generator, which is not used here, refers back to it: unbroken, the circle keeps the whole fetched buffer alive.
    fetched._records_iterator = None
    wanted_offset = fetched.next_fetch_offset
    records: list[Any] = []
    while fetched._records.has_next():
        batch = fetched._records.next_batch()
        if fetched._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"{tp}: a record batch does not match its checksum")
        if not batch.is_control_batch:
            records.extend(batch)
        fetched.next_fetch_offset = max(fetched.next_fetch_offset, batch.next_offset)
    result._update_position()
    result._partition_records = None
    if records and records[0].offset < wanted_offset:  # a batch is fetched whole, though only its end was asked for
        records = [record for record in records if record.offset >= wanted_offset]
    return records
