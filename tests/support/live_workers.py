"""Whole workers inside a test."""

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from yarl import URL

from agents.app import WorkerApp, make_app
from agents.topology import Names
from pipeline.config.schema import Settings
from pipeline.local import ports
from pipeline.model.section import Origin
from tests.support.chunk_worker import Broker, running, until

PARTITIONS = 4


class Workers:
    """Workers of one app on one broker."""

    def __init__(self, broker: Broker, folder: Path, monkeypatch: Any, app: str, **keys: Any) -> None:
        self.broker = broker
        self.names = Names(app)
        self.topic = f"{app}-events"
        self.settings = Settings.model_validate(
            {
                "app": app,
                "topic": self.topic,
                "broker": f"kafka://{broker.address}",
                "partitions": PARTITIONS,
                "outbound": {"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
                "worker": {"session_timeout": "6s", "commit_interval": "100ms"},
                **keys,
            },
            context=Origin.FILE,
        )
        self._folder = folder
        self._monkeypatch = monkeypatch
        self.running: list[WorkerApp] = []

    @contextlib.asynccontextmanager
    async def worker(self, name: str) -> AsyncIterator[WorkerApp]:
        """One more, for the length of the block."""
        self._monkeypatch.setenv("F_DATADIR", str(self._folder / name))
        app = make_app(self.settings, self.broker.address)
        app.conf.web_port = ports.choose(besides={other.conf.web_port for other in self.running})
        app.conf.canonical_url = URL(f"http://127.0.0.1:{app.conf.web_port}")
        async with running(app):
            self.running.append(app)
            try:
                yield app
            finally:
                self.running.remove(app)

    async def share(self) -> None:
        """Wait until each of those that run has a part of the work, and one leads."""
        await until(lambda: all(self.owned(app) for app in self.running) and self.leader() is not None, 30)

    def owned(self, app: WorkerApp) -> list[int]:
        if app.rebalancing or not app.tables.actives_ready:
            return []
        return sorted(tp.partition for tp in app.assignment() if tp.topic == self.names.routed)

    def leader(self) -> WorkerApp | None:
        return next((app for app in self.running if app.topology.integrations.claim_of(0) is not None), None)

    async def everywhere(self, revision: int, within_s: float = 10.0) -> float:
        """Wait until all go by ``revision``; gives the seconds that took."""
        began_s = time.monotonic()
        await until(lambda: all(app.integrations.snapshot.revision >= revision for app in self.running), within_s)
        return time.monotonic() - began_s
