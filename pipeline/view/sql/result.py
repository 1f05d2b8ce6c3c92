"""What a query gave: its columns, and its rows in a file that has no name any more."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from typing import Any, BinaryIO, Final

import msgspec

from pipeline.view.columns import Columns, Row

_BYTES_AT_ONCE: Final = 128 << 10


class Result:
    """A result: ``rows`` of them, ``is_cut`` where there would be more; read once, by :meth:`read` or :meth:`content`."""

    def __init__(self, columns: Columns, file: BinaryIO, *, rows: int, is_cut: bool, elapsed_s: float) -> None:
        self.columns = columns
        self.rows = rows
        self.is_cut = is_cut
        self.elapsed_s = elapsed_s
        self._file = file

    async def read(self) -> AsyncIterator[Row]:
        """The rows of a result that was asked for as rows."""
        names = [column.name for column in self.columns]
        try:
            while lines := await asyncio.to_thread(self._file.readlines, _BYTES_AT_ONCE):
                for line in lines:
                    yield dict(zip(names, _values(line), strict=True))
                await asyncio.sleep(0)
        finally:
            self._file.close()

    async def content(self) -> AsyncIterator[bytes]:
        """The bytes of the file, for a result that was asked for as Parquet."""
        try:
            while block := await asyncio.to_thread(self._file.read, _BYTES_AT_ONCE):
                yield block
        finally:
            self._file.close()


def _values(line: bytes) -> list[Any]:
    try:
        values: list[Any] = msgspec.json.decode(line)
    except msgspec.DecodeError:  # DuckDB writes NaN and Infinity inside of lists and structs
        values = _finite(json.loads(line))
    return values


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return value
