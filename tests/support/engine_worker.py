"""A worker process of its own: sends a record for each chunk and tick. ``python -m tests.support.engine_worker JSON``.

The JSON object: ``name``, ``address``, ``datadir``, ``source``, ``target`` and further options of the app. A record
with the value ``raise`` makes the agent raise. Each chunk is told on standard output, as ``chunk FIRST-LAST``.
"""

import asyncio
import json
import sys
from pathlib import Path

import faust

from tests.support.chunk_worker import make_app


def build(name: str, address: str, datadir: str, source: str, target: str, **options):
    app = make_app(name, address, Path(datadir), **options)

    @app.agent(app.chunk_topic(source, tick_s=0.02))
    async def copy(stream):
        async for chunk in stream:
            if any(record.value == b"raise" for record in chunk.records):
                raise ValueError("told to raise")
            chunk.follow(app.outbox.send(target, chunk.partition, [[(None, b"tick" if chunk.is_tick else b"record")]]))
            if not chunk.is_tick:
                sys.stdout.write(f"chunk {chunk.first_offset}-{chunk.offset}\n")
                sys.stdout.flush()

    return app


async def _announce() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    app = build(**told)
    worker = faust.Worker(app, loglevel="WARNING", loop=loop, redirect_stdouts=False)
    worker.spinner = None
    app.task(_announce)
    raise worker.execute_from_commandline()
