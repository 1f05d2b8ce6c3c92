"""The program that one writes with Faust first: an agent, a list a integration in a table, a POST when it is full.

Run by ``throughput``, for comparison: python -m bench.stock_faust BROKERS TOPIC GROUP URL DATADIR PORT
"""

import json
import sys
from typing import Any

import faust

FULL = 100
INTEGRATIONS = [{"id": "all", "events": "*"}]


def make_app(brokers: str, topic: str, group: str, url: str, datadir: str, port: int) -> faust.App:  # noqa: PLR0917
    app = faust.App(
        group,
        broker=f"kafka://{brokers}",
        value_serializer="json",
        store="memory://",
        datadir=datadir,
        topic_partitions=4,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        web_port=port,
        web_bind="127.0.0.1",
    )
    events = app.topic(topic, value_serializer="json")
    windows = app.Table("windows", default=list)
    sent: dict[str, int] = {}

    async def post(integration: str, window: list[Any]) -> None:
        first = sent.get(integration, 0)
        sent[integration] = end = first + len(window)
        headers = {
            "content-type": "application/json",
            "webhook-id": f"{integration}:{first}-{end}",
            "distributary-sequence": f"{integration} {first}-{end}",
        }
        async with app.http_client.post(url, data=json.dumps(window).encode(), headers=headers) as answer:
            await answer.read()

    @app.agent(events)
    async def deliver(stream: Any) -> None:
        async for event in stream:
            for integration in INTEGRATIONS:
                if integration["events"] in ("*", event["event_name"]):
                    window = windows[integration["id"]]
                    window.append(event)
                    if len(window) >= FULL:
                        await post(integration["id"], window)
                        window = []
                    windows[integration["id"]] = window

    return app


if __name__ == "__main__":
    faust.Worker(make_app(*sys.argv[1:6], int(sys.argv[6])), loglevel="warn").execute_from_commandline()
