"""The real servers that tests run against, and which versions of what they were."""

import atexit
import os
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from pipeline.errors import LocalServerError
from pipeline.local.jars import KAFKA_VERSION
from pipeline.local.servers import LocalServers


@atexit.register
def _end_with_the_summary() -> None:
    """Let pytest's line be the last: DuckDB's bindings would list all that hypothesis still refers to at the end."""
    if "duckdb" in sys.modules:
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


_KAFKA_FIXTURES = {"kafka", "own_kafka"}
_LONG = {"browser", "integration", "commands"}
"""Folders whose files take minutes: at the end, one of two processes would wait for the other."""

_INBOUND = (
    "tests/integration/inbound/",
    "tests/integration/test_users",
    "tests/integration/test_live_webhooks.py",
    "tests/integration/view/test_inbound_pages.py",
    "tests/browser/test_webhook_stories.py",
)
"""What `make test-long` runs: whole workers that listen, which would take all else beyond the time that there is."""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def pytest_report_header() -> str:
    """One line that says what a result was got with."""
    python = ".".join(map(str, sys.version_info[:3]))
    packages = ", ".join(f"{name} {_version(name)}" for name in ("faust-streaming", "aiokafka", "rocksdict", "redis"))
    return f"distributary {_version('distributary')}: python {python}, {packages}, Apache Kafka {KAFKA_VERSION}"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what is left to a command of its own; before anything is chosen by marks."""
    if item.nodeid.startswith(_INBOUND):
        item.add_marker(pytest.mark.long)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Kafka, so that ``-m "not kafka"`` leaves out just that, and begin with what takes longest."""
    items.sort(key=lambda item: not set(Path(item.fspath).parts) & _LONG)
    for item in items:
        if _KAFKA_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)


def _started(name: str, folder: Path) -> Iterator[LocalServers]:
    """A server for tests. Where it cannot be had a test is skipped, but never in CI: that must not pass without it."""
    servers = LocalServers(folder, names=[name])
    try:
        servers.acquire()
    except LocalServerError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    try:
        yield servers
    finally:
        servers.release()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``127.0.0.1:port`` of the session's Kafka, started by the first test that asks. Use topic names of your own."""
    for servers in _started("kafka", tmp_path_factory.mktemp("kafka")):
        yield servers.addresses.kafka


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[LocalServers]:
    """A Kafka for one test alone, which may kill, pause and restart it."""
    yield from _started("kafka", tmp_path / "own-kafka")


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``redis://127.0.0.1:port/0`` of the session's Redis, started by the first test that asks."""
    for servers in _started("redis", tmp_path_factory.mktemp("redis")):
        yield servers.addresses.redis
