"""How much a worker's delivery core may use."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """Bounds of one delivery core, over all its lanes.

    ``slots`` is how many tries run at once. ``quantum_bytes`` is what a lane may send in its turn while slots are scarce.
    ``resident_bytes`` is how much of batches' bodies is kept in memory, ``outgoing_bytes`` how much may wait to be taken
    before no more is tried. ``reads`` is how many bodies are read back at once, ``spare_bodies`` how many a lane may keep
    ready beside those in flight, however slow it is. A lane that has delivered nothing for ``stalled_after_s`` is stalled:
    its memory does not count as the worker being busy, and is the first to be given back.
    """

    slots: int = 512
    quantum_bytes: int = MIB // 4
    resident_bytes: int = 64 * MIB
    outgoing_bytes: int = 16 * MIB
    reads: int = 16
    spare_bodies: int = 2
    stalled_after_s: float = 5.0

    @property
    def busy_bytes(self) -> int:
        """From here on the worker is busy: the other half is for the chunk that is being taken in, and for reading back."""
        return self.resident_bytes // 2
