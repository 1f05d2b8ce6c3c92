"""What the pages of webhooks, Segment's calls and users stand on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agents.topology import Names
from agents.view.gather import Gather
from agents.view.pages.browsing import each
from agents.view.records import Records
from agents.view.webhook_acts import WebhookActs
from pipeline.clock import Clock
from pipeline.config.schema import Settings
from pipeline.inbound.settings import InboundSettings
from pipeline.integrations.snapshot import WebhookEntry
from pipeline.view.columns import Column, Columns, Kind
from pipeline.view.page import Page, Section

INBOUND_EXAMPLE: Final = """\
inbound:
  host: 0.0.0.0
  public_url: https://hooks.example
"""
SEGMENT_EXAMPLE: Final = f"""\
{INBOUND_EXAMPLE}segment_destination:
  applications:
    32E5A-9B411: ${{SEGMENT_TOKEN}}
"""


_EXAMPLE: Final[Columns] = (Column("line", "Line", Kind.CODE, "Of faust.yml.", is_sortable=False),)


@dataclass(frozen=True, slots=True)
class InboundParts:
    """Everything that these pages ask, and what they change webhooks with. ``inbound`` is the section, which must be there."""

    gather: Gather
    records: Records
    acts: WebhookActs
    names: Names
    settings: Settings
    clock: Clock

    @property
    def inbound(self) -> InboundSettings:
        """The section ``inbound``."""
        assert self.settings.inbound is not None
        return self.settings.inbound

    @property
    def webhooks(self) -> Mapping[str, WebhookEntry]:
        """Those in force, by id."""
        return self.acts.snapshot.webhooks


def off_page(title: str, why: str, example: str) -> Page:
    """The page that stands in the place of one for which a section of ``faust.yml`` is missing."""
    lines = [{"line": line} for line in example.splitlines()]
    section = Section("example", _EXAMPLE, each(lines), "What switches it on in faust.yml.")
    return Page(title, "inbound_off.html", [section], context={"why": why, "example": example})
