"""What the demo shows while it runs."""

from dataclasses import dataclass, field
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Group
from rich.table import Table
from rich.text import Text

STATES = ("matched", "open", "waiting", "delivered", "parked", "discarded")


@dataclass(slots=True)
class Figures:
    """Counts at one moment, from the worker's metrics and the receiver's statistics.

    ``routed`` counts events times the integrations that they matched, as the router did; the ledger does so once they are in
    their windows.
    """

    sent: int = 0
    read: int = 0
    unmatched: int = 0
    dead: int = 0
    routed: int = 0
    retries: int = 0
    received: int = 0
    batches: int = 0
    ledger: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))

    @property
    def is_quiet(self) -> bool:
        """Whether every event that was sent has been read and nothing is on its way."""
        ended = self.ledger["delivered"] + self.ledger["parked"] + self.ledger["discarded"]
        return self.read >= self.sent and ended == self.ledger["matched"] >= self.routed


async def read(session: aiohttp.ClientSession, worker_url: str, receiver_url: str, sent: int) -> Figures:
    """Ask worker and receiver; raises ``aiohttp.ClientError`` or ``TimeoutError`` where one does not answer."""
    async with session.get(f"{worker_url}/metrics") as answer:
        answer.raise_for_status()
        families = text_string_to_metric_families(await answer.text())
    async with session.get(f"{receiver_url}stats") as answer:
        stats: dict[str, Any] = await answer.json(content_type=None)
    figures = Figures(sent=sent, received=stats["unique_events"], batches=stats["batches"])
    counters = {
        "distributary_source_events_total": "read",
        "distributary_unmatched_events_total": "unmatched",
        "distributary_matched_events_total": "routed",
        "distributary_dead_letters_total": "dead",
        "distributary_retries_total": "retries",
    }
    for family in families:
        for sample in family.samples:
            if sample.name in counters:
                name = counters[sample.name]
                setattr(figures, name, getattr(figures, name) + int(sample.value))
            elif sample.name == "distributary_ledger_events":
                figures.ledger[sample.labels["state"]] += int(sample.value)
    return figures


def draw(now: Figures, rate_per_s: float, pages: str) -> Group:
    """Draw the figures for a terminal of 80 columns."""
    flow = Table(box=None, pad_edge=False, show_header=False)
    flow.add_column(justify="right", style="bold", min_width=12)
    flow.add_column()
    flow.add_row(f"{now.sent:,}", "events sent to channels-tracking-log")
    flow.add_row(
        f"{now.read:,}", f"read, of which {now.unmatched:,} matched no integration and {now.dead:,} were unusable"
    )
    flow.add_row(f"{now.ledger['matched']:,}", "matched (an event times the integrations it goes to)")
    flow.add_row(f"{now.ledger['open']:,}", "in open windows")
    flow.add_row(f"{now.ledger['waiting']:,}", f"in sealed batches that wait, {now.retries:,} retries so far")
    flow.add_row(
        f"{now.ledger['delivered']:,}", f"delivered in {now.batches:,} requests, now {rate_per_s:,.0f} events/s"
    )
    flow.add_row(f"{now.ledger['parked']:,}", "parked: given up after the last retry, kept in a topic")
    return Group(flow, Text(pages, style="dim"))
