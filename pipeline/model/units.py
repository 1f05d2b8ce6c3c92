"""Durations and sizes as people write them: ``30s``, ``1h``, ``64KiB``.

``Annotated[float, Duration(...)]`` and ``Annotated[int, Size(...)]`` are pydantic types with bounds. A value in a file must
carry its unit; Python code may also give plain seconds and bytes.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from pipeline.model.section import Origin

_DURATION_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE_UNITS_BYTES: Final = {
    "B": 1,
    "KB": 1000,
    "KiB": 1 << 10,
    "MB": 1000**2,
    "MiB": 1 << 20,
    "GB": 1000**3,
    "GiB": 1 << 30,
}
_SIZE_UNITS_ANY_CASE: Final = {unit.lower(): unit for unit in _SIZE_UNITS_BYTES}
_QUANTITY: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]{0,8})")
_LONGEST_SHOWN: Final = 24
MINUTE_S: Final = 60.0
HOUR_S: Final = 3_600.0
DAY_S: Final = 86_400.0
KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30


def parse_duration(text: str) -> float:
    """Read ``250ms``, ``30s``, ``5m``, ``1.5h`` or ``3d`` as seconds, to the millisecond.

    Raises ``ValueError`` with what to write instead.
    """
    number, unit = _split(text, "a duration such as 250ms, 30s, 5m, 1h or 3d")
    if not unit:
        raise ValueError(f"{text} has no unit; write {text}s for seconds (units: ms, s, m, h, d)")
    if unit not in _DURATION_UNITS_MS:
        raise ValueError(f"{unit} is not a unit of time; units: {', '.join(_DURATION_UNITS_MS)}")
    milliseconds = number * _DURATION_UNITS_MS[unit]
    if milliseconds != int(milliseconds):
        raise ValueError(f"{text} is finer than a millisecond; write a whole number of ms")
    return int(milliseconds) / 1000


def format_duration(seconds: float) -> str:
    """Write ``seconds`` (rounded to the millisecond) in the largest unit that needs no fraction: ``90m``, ``250ms``."""
    milliseconds = round(seconds * 1000)
    if not milliseconds:
        return "0s"
    unit = next(unit for unit in reversed(_DURATION_UNITS_MS) if milliseconds % _DURATION_UNITS_MS[unit] == 0)
    return f"{milliseconds // _DURATION_UNITS_MS[unit]}{unit}"


def parse_size(text: str) -> int:
    """Read ``512B``, ``64KiB``, ``1MiB`` or ``8MB`` as bytes; raises ``ValueError`` with what to write instead."""
    number, written = _split(text, "a size such as 512B, 64KiB, 1MiB or 8MB")
    if not written:
        raise ValueError(f"{text} has no unit; write {text}B for bytes (units: {', '.join(_SIZE_UNITS_BYTES)})")
    unit = _SIZE_UNITS_ANY_CASE.get(written.lower())
    if unit is None:
        raise ValueError(f"{written} is not a unit of size; units: {', '.join(_SIZE_UNITS_BYTES)}")
    size = number * _SIZE_UNITS_BYTES[unit]
    if size != int(size):
        raise ValueError(f"{text} is not a whole number of bytes")
    return int(size)


def format_size(size_bytes: int) -> str:
    """Write ``size_bytes`` in the largest binary unit that needs no fraction: ``64KiB``, ``1500B``."""
    if not size_bytes:
        return "0B"
    unit = next(unit for unit in ("GiB", "MiB", "KiB", "B") if size_bytes % _SIZE_UNITS_BYTES[unit] == 0)
    return f"{size_bytes // _SIZE_UNITS_BYTES[unit]}{unit}"


def _split(text: str, expected: str) -> tuple[Decimal, str]:
    found = _QUANTITY.fullmatch(text.strip())
    if found is None:
        shown = repr(text) if len(text) <= _LONGEST_SHOWN else f"a text of {len(text)} characters"
        raise ValueError(f"{shown} is not {expected}")
    return Decimal(found[1]), found[2]


@dataclass(frozen=True, slots=True)
class Duration:
    """Marks a ``float`` field as a duration in seconds between ``least_s`` and ``most_s``."""

    least_s: float = 0.0
    most_s: float = 365 * DAY_S

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate with the rules of this class, serialise as people write it."""
        return core_schema.with_info_plain_validator_function(
            self.validate,
            serialization=core_schema.plain_serializer_function_ser_schema(format_duration, when_used="json"),
        )

    def validate(self, value: object, info: ValidationInfo) -> float:
        """Return seconds; raises ``ValueError`` in words."""
        if isinstance(value, str):
            seconds = parse_duration(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if info.context is Origin.FILE:
                raise ValueError(f"{value} has no unit; write {value}s for seconds (units: ms, s, m, h, d)")
            seconds = float(value)
        else:
            raise ValueError("must be a duration such as 250ms, 30s, 5m, 1h or 3d")
        if math.isnan(seconds) or seconds < self.least_s:
            raise ValueError(f"is too short; at least {format_duration(self.least_s)}")
        if seconds > self.most_s:
            raise ValueError(f"is too long; at most {format_duration(self.most_s)}")
        return seconds

    def words(self) -> str:
        """The type, for people."""
        return f"duration, {format_duration(self.least_s)} to {format_duration(self.most_s)}"


@dataclass(frozen=True, slots=True)
class Size:
    """Marks an ``int`` field as a size in bytes between ``least_bytes`` and ``most_bytes``."""

    least_bytes: int = 0
    most_bytes: int = 1024 * GIB

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate with the rules of this class, serialise as people write it."""
        return core_schema.with_info_plain_validator_function(
            self.validate, serialization=core_schema.plain_serializer_function_ser_schema(format_size, when_used="json")
        )

    def validate(self, value: object, info: ValidationInfo) -> int:
        """Return bytes; raises ``ValueError`` in words."""
        if isinstance(value, str):
            size = parse_size(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            if info.context is Origin.FILE:
                raise ValueError(
                    f"{value} has no unit; write {value}B for bytes (units: {', '.join(_SIZE_UNITS_BYTES)})"
                )
            size = value
        else:
            raise ValueError("must be a size such as 512B, 64KiB, 1MiB or 8MB")
        if size < self.least_bytes:
            raise ValueError(f"is too small; at least {format_size(self.least_bytes)}")
        if size > self.most_bytes:
            raise ValueError(f"is too large; at most {format_size(self.most_bytes)}")
        return size

    def words(self) -> str:
        """The type, for people."""
        return f"size, {format_size(self.least_bytes)} to {format_size(self.most_bytes)}"


DurationS = Annotated[float, Duration()]
"""Seconds, written with a unit."""

SizeBytes = Annotated[int, Size()]
"""Bytes, written with a unit."""
