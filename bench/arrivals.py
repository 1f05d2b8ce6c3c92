"""A receiver that notes when each batch came, to the microsecond: the end of what ``latency`` measures.

python -m bench.arrivals --port 8090
"""

import argparse
import asyncio
import json
import signal
import time

from pipeline.receiver.http_server import Connection, Request, response

OK = response(200, b"ok")


class Arrivals:
    """What came: batch ids, when (UNIX seconds), and how many events."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self.events = 0

    def handle(self, request: Request, connection: Connection) -> None:
        """Answer one request; a batch that comes again keeps its first arrival."""
        if request.method == "POST":
            self.at.setdefault(request.headers["webhook-id"], time.time())
            first, end = request.headers["distributary-sequence"].rpartition(" ")[2].split("-")
            self.events += int(end) - int(first)
            connection.finish(OK)
            return
        if request.method == "DELETE":
            self.__init__()  # type: ignore[misc]
        content = self.at if request.path == "/arrivals" else {"events": self.events, "batches": len(self.at)}
        connection.finish(response(200, json.dumps(content).encode(), content_type="application/json"))


async def serve(port: int) -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    arrivals, connections = Arrivals(), set[Connection]()
    server = await loop.create_server(
        lambda: Connection(arrivals.handle, connections, keep_body=False, max_body_bytes=64 << 20), "127.0.0.1", port
    )
    await over.wait()
    server.close()
    for connection in list(connections):
        connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(parser.parse_args().port))
