"""What the pages of the flow stand on: attempts, batches, parked batches, dead letters, notices, events."""

from dataclasses import dataclass

from agents.integrations import Integrations
from agents.topology import Names
from agents.view.gather import Gather
from agents.view.records import Records
from agents.view.replays import Replays
from pipeline.clock import Clock
from pipeline.config.schema import Settings


@dataclass(frozen=True, slots=True)
class FlowParts:
    """Everything that they ask, and what they change it with."""

    gather: Gather
    records: Records
    replays: Replays
    integrations: Integrations
    names: Names
    settings: Settings
    clock: Clock
