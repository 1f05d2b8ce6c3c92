"""A receiver for integrations of kind grpc: answers each event as soon as it is kept, and knows what is missing.

    python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. distributary/eventstream/v1/event_stream.proto
    python grpc_receiver.py --port 8090

Needs grpcio and protobuf, and grpcio-tools for the first line, which makes the modules that are imported here. Point the
integration at it with ``url: grpc://127.0.0.1:8090``. It keeps events in SQLite by lane and number, and prints a line of
JSON after each stream.
"""

import argparse
import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import grpc
from distributary.eventstream.v1 import event_stream_pb2, event_stream_pb2_grpc

Success = event_stream_pb2.EventResult.Status.Success
Rejected = event_stream_pb2.EventResult.Status.Rejected

SCHEMA = "CREATE TABLE IF NOT EXISTS events (lane TEXT, number INTEGER, event BLOB, PRIMARY KEY (lane, number)) STRICT"

# Numbers between two that are there. They belong to batches that are still being tried, or were parked.
GAPS = """
SELECT lane, number + 1, next FROM (
    SELECT lane, number, LEAD(number) OVER (PARTITION BY lane ORDER BY number) AS next FROM events
) WHERE next > number + 1
"""


class Store:
    """The events that have been taken. Its calls are short enough for the event loop; a slower store belongs on a thread."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute(SCHEMA)

    def keep(self, lane: str, events: list[Any]) -> int:
        """Keep events, on disk when this returns; gives how many were there already."""
        with self._connection:  # one transaction
            before = self._connection.total_changes
            rows = [(lane, event.sequence, event.SerializeToString()) for event in events]
            self._connection.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", rows)
            return len(events) - (self._connection.total_changes - before)

    def stats(self) -> dict[str, Any]:
        """What is there, and what is not."""
        (events,) = self._connection.execute("SELECT COUNT(*) FROM events").fetchone()
        gaps = [f"{lane} {first}-{end}" for lane, first, end in self._connection.execute(GAPS)]
        return {"events": events, "gaps": gaps}


class Receiver(event_stream_pb2_grpc.EventStreamServiceServicer):
    """Takes streams, each of which is a batch of one lane."""

    def __init__(self, store: Store, authorization: str) -> None:
        self._store = store
        self._authorization = authorization

    async def Deliver(self, requests: AsyncIterator[Any], context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        """Answer every event by its uuid: Success when it is safe. What is not answered is sent again."""
        metadata = dict(context.invocation_metadata() or ())
        if self._authorization and metadata.get("authorization") != self._authorization:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the authorization is not the one that was agreed on")
        # webhook-id is LANE:FIRST-END, and every event has its own number in the lane.
        lane = str(metadata.get("webhook-id", "")).rpartition(":")[0]
        is_test = metadata.get("distributary-purpose") == "test"
        repeats = 0
        async for request in requests:
            usable = [event for event in request.events if event.hwid or event.user_id]
            if not is_test:
                repeats += self._store.keep(lane, usable)
            # Answers go out at once, not at the end: the sender has a deadline, and what it knows it does not send again.
            results = [event_stream_pb2.EventResult(uuid=event.uuid, status=Success) for event in usable]
            results += [
                event_stream_pb2.EventResult(uuid=event.uuid, status=Rejected, message="whose event is it?")
                for event in request.events
                if not (event.hwid or event.user_id)
            ]
            yield event_stream_pb2.DeliverResponse(results=results)
        print(json.dumps({"lane": lane, "repeats": repeats, **self._store.stats()}), flush=True)


async def serve(arguments: argparse.Namespace) -> None:
    """Run the receiver until it is told to stop."""
    server = grpc.aio.server()
    receiver = Receiver(Store(arguments.database), os.environ.get("WEBHOOK_AUTHORIZATION", ""))
    event_stream_pb2_grpc.add_EventStreamServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port(f"{arguments.host}:{arguments.port}")  # in production: add_secure_port
    await server.start()
    print(f"receiving at grpc://{arguments.host}:{port}/", flush=True)
    await server.wait_for_termination()


def main() -> None:
    """Run the receiver until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Receive what integrations of kind grpc send.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--database", default="grpc-events.db")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
