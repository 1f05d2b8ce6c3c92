"""Queries, each in a process of its own: started, talked to, and ended when its time is over."""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from pipeline.errors import UnavailableError, ViewQueryError
from pipeline.view.columns import Column
from pipeline.view.sql.catalogue import Table, shown, sql_name
from pipeline.view.sql.limits import LONGEST_QUERY, SqlLimits
from pipeline.view.sql.messages import Answer, Ask, Done, Failed, Load, Loaded, Output, Request, Run, Understood
from pipeline.view.sql.result import Result

_PROJECT: Final = Path(__file__).parents[3]
_LONGEST_ANSWER_BYTES: Final = 4 << 20
_GRACE_S: Final = 2.0
"""How long after its time a process may still stop by itself, before it is killed."""
_START_S: Final = 15.0
"""What starting the interpreter may take on a busy machine."""

_Expected = TypeVar("_Expected", Understood, Loaded, Done)


class SqlQuery:
    """One query and its process, made by :meth:`SqlRunner.query`.

    ``tables`` are those whose rows it reads: :meth:`load` each, or know its database from before, then :meth:`run`.
    """

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, limits: SqlLimits) -> None:
        self.folder = folder
        self.tables: tuple[Table, ...] = ()
        self._process = process
        self._limits = limits

    async def ask(self, text: str, tables: Sequence[Table]) -> None:
        """Have the query read, without running it; raises ``ViewQueryError`` with all that is wrong with it."""
        ask = Ask(text, tuple(table.shape for table in tables), self._limits)
        understood = await self._answer(ask, Understood, self._limits.time_s + _START_S)
        self.tables = tuple(table for table in tables if table.name in understood.tables)

    async def load(self, table: Table, rows_file: Path, file: Path) -> int:
        """Make the database ``file`` of the rows, and remove their file; gives how many there are."""
        loaded = await self._answer(Load(table.name, str(rows_file), str(file)), Loaded, self._limits.load_s)
        await asyncio.to_thread(rows_file.unlink)
        return loaded.rows

    async def run(self, files: Mapping[str, Path], output: Output, *, is_export: bool) -> Result:
        """Run the query over the databases of its tables, by name.

        Raises ``ViewQueryError`` for what DuckDB refuses, and where the query reaches a limit of time or memory.
        """
        result, limits = self.folder / "result", self._limits
        done = await self._answer(
            Run(
                files={name: str(file) for name, file in files.items()},
                output=output,
                result=str(result),
                most_rows=limits.export_rows if is_export else limits.page_rows,
                most_bytes=limits.export_bytes if is_export else limits.page_bytes,
            ),
            Done,
            limits.time_s,
        )
        known: dict[str, Column] = {sql_name(each.name): each for table in self.tables for each in table.columns}
        columns = tuple(shown(each, known) for each in done.columns)
        file = await asyncio.to_thread(result.open, "rb")
        return Result(columns, file, rows=done.rows, is_cut=done.is_cut, elapsed_s=done.elapsed_s)

    async def _answer(self, request: Request, expected: type[_Expected], limit_s: float) -> _Expected:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = b""
        with contextlib.suppress(ConnectionError, ValueError):
            try:
                async with asyncio.timeout(limit_s + _GRACE_S):
                    self._process.stdin.write(msgspec.json.encode(request) + b"\n")
                    await self._process.stdin.drain()
                    line = await self._process.stdout.readline()
            except TimeoutError:
                raise ViewQueryError(
                    f"the query did not stop after {limit_s:g} seconds and was ended; ask for less"
                ) from None
        if not line:
            raise ViewQueryError("the query needed more memory or time than one may have, and was ended; ask for less")
        answer: Answer = msgspec.json.decode(line, type=Answer)
        if isinstance(answer, Failed):
            raise ViewQueryError(answer.problem)
        assert isinstance(answer, expected), answer
        return answer


class SqlRunner:
    """Runs queries, so many at once and no more.

    ``folder`` says where tables and results lie while they are needed; only the worker's own user can read it.
    """

    def __init__(self, folder: Callable[[], Path], limits: SqlLimits) -> None:
        self.limits = limits
        self._folder = folder
        self._is_open = False
        self._opening = asyncio.Lock()
        self._free = asyncio.Semaphore(limits.at_once)

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self._folder().absolute()

    async def open(self) -> None:
        """Make the folder, empty: what a killed worker left is removed. The first query does it otherwise."""
        async with self._opening:
            if not self._is_open:
                await asyncio.to_thread(_make_empty, self.folder)
                self._is_open = True

    async def close(self) -> None:
        """Remove the folder."""
        if self._is_open:
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
            self._is_open = False

    @contextlib.asynccontextmanager
    async def query(self, text: str, tables: Sequence[Table]) -> AsyncIterator[SqlQuery]:
        """A query that was read and can be run; its process ends with the block.

        Raises ``ViewQueryError`` where it is none, and ``UnavailableError`` where others run for too long.
        """
        if len(text) > LONGEST_QUERY:
            raise ViewQueryError(f"the query has {len(text):,} characters; at most {LONGEST_QUERY:,} are read")
        text = text.encode(errors="replace").decode()
        await self.open()
        async with self._slot(), self._own_folder() as folder, self._process(folder) as process:
            query = SqlQuery(process, folder, self.limits)
            await query.ask(text, tables)
            yield query

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.limits.wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise UnavailableError(
                f"{self.limits.at_once} other queries are running on this worker; ask again in a few seconds",
                retry_after_s=self.limits.wait_s,
            ) from None
        try:
            yield
        finally:
            self._free.release()

    @contextlib.asynccontextmanager
    async def _own_folder(self) -> AsyncIterator[Path]:
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="query-", dir=self.folder))
        try:
            yield folder
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def _process(self, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "pipeline.view.sql.process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=folder,
            # Nothing of the worker's environment: it may hold the customers' secrets.
            env={"PYTHONPATH": str(_PROJECT), "HOME": str(folder), "LANG": "C.UTF-8", "TMPDIR": str(folder)},
            limit=_LONGEST_ANSWER_BYTES,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _make_empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, so that it stays while it is needed, whoever removes the first."""
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
