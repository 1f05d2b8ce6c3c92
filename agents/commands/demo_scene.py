"""Who plays in the demo: a receiver and a worker, as processes that end with it."""

import os
import socket
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from pipeline.errors import LocalServerError
from pipeline.local import ports
from pipeline.local.launch import Launched, last_log_lines, launch
from pipeline.traffic import APPLICATIONS

APP = "demo"
STOP_S = 15.0
START_S = 60.0


def integrations(receiver_url: str) -> list[dict[str, object]]:
    """A few customers of different kinds, one of them with an endpoint that fails now and then."""
    batch = {"max_events": 100, "max_age": "3s"}
    anything = {"events": ["*"], "platforms": ["*"]}
    common = {"kind": "http", "url": receiver_url, "batch": batch}
    return [
        {"id": "everything", **common, **anything},
        {
            "id": "mobile-push",
            **common,
            "events": ["Push Sent", "Push Delivered", "Push Opened"],
            "platforms": ["iOS", "Android"],
        },
        {
            "id": "email",
            **common,
            "events": ["Email Sent", "Email Opened", "Email Bounced"],
            "platforms": ["Email"],
            "body": "envelope",
            "compression": "gzip",
        },
        {"id": "one-app-raw", **common, **anything, "applications": [APPLICATIONS[0]], "fields": "all"},
        {"id": "live", **common, **anything, "live_activities": True, "applications": [APPLICATIONS[1]]},
        {
            "id": "flaky",
            **common,
            "url": f"{receiver_url}fail/503/0.2",
            "events": ["SMS Sent", "SMS Delivered"],
            "platforms": ["SMS"],
        },
    ]


class Scene:
    """The receiver and the worker, running for the length of a ``with`` block in ``folder``."""

    def __init__(self, folder: Path, brokers: str, app: str, topic: str) -> None:
        self.folder = folder
        self.app = app
        self.topic = topic
        self.brokers = brokers
        self.receiver_url = ""
        self.worker_url = ""
        self._running: list[Launched] = []

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        receiver_port = ports.choose()
        worker_port = ports.choose(besides={receiver_port})
        self.receiver_url = f"http://127.0.0.1:{receiver_port}/"
        self.worker_url = f"http://127.0.0.1:{worker_port}"
        config = self.folder / "faust.yml"
        settings = {
            "app": self.app,
            "topic": self.topic,
            "broker": f"kafka://{self.brokers}",
            "outbound": {"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
            "integrations": integrations(self.receiver_url),
        }
        config.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        program = [sys.executable, "-m", "agents"]
        self._launch("receiver", [*program, "receiver", "--port", str(receiver_port)])
        self._launch(
            "worker",
            [
                *program,
                "--config",
                str(config),
                "--datadir",
                str(self.folder / "data"),
                "worker",
                "--web-port",
                str(worker_port),
            ],
        )
        self._await_port("receiver", receiver_port)
        self._await_port("worker", worker_port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for launched in reversed(self._running):
            if launched.supervisor is not None:
                launched.supervisor.stop(STOP_S + 5)
            os.close(launched.hold)

    def check(self) -> None:
        """Raise ``LocalServerError`` with the end of its log where the worker or the receiver has ended."""
        for name, launched in zip(("receiver", "worker"), self._running, strict=True):
            if launched.server is None or not launched.server.is_alive:
                raise LocalServerError(f"the {name} of the demo has ended:\n{last_log_lines(self.folder, name)}")

    def _launch(self, name: str, command: list[str]) -> None:
        self._running.append(launch(self.folder, name, command, stop_deadline_s=STOP_S))

    def _await_port(self, name: str, port: int) -> None:
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            self.check()
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        raise LocalServerError(
            f"the {name} of the demo does not listen on port {port} after {START_S:.0f} s:\n{last_log_lines(self.folder, name)}"
        )
