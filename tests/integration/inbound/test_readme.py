"""The commands of the README's section on the other direction, as it has them, against a worker with its configuration."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.local import ports
from tests.support.worker_process import WorkerProcess, eventually

SECTION = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8").partition("## The other direction")[2]
SECTION = SECTION.partition("\n## ")[0]
TOKEN = "a-token-of-segment-0123456789"

pytestmark = [pytest.mark.kafka, pytest.mark.skipif(shutil.which("curl") is None, reason="the README calls curl")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)


class ReaderOfTheReadme(WorkerProcess):
    """A worker with the README's settings, but for the ports, and what a test needs to have it alone."""

    def __init__(self, kafka: str, redis_url: str, folder: Path) -> None:
        super().__init__("readme", kafka, folder)
        self.inbound_port = ports.choose(besides={self.port})
        self._redis_url = redis_url

    def settings(self) -> dict[str, Any]:
        (text,) = blocks("yaml")
        told = yaml.safe_load(text.replace("${SEGMENT_TOKEN}", TOKEN))
        told["inbound"]["port"] = self.inbound_port
        return super().settings() | {"redis": self._redis_url} | told

    def types(self, commands: str, **variables: str) -> str:
        """Run commands of the README in a shell; gives what they print."""
        commands = commands.replace(":6070/", f":{self.inbound_port}/").replace(":6066/", f":{self.port}/")
        done = subprocess.run(
            ["sh", "-ec", commands],
            env={"PATH": os.environ["PATH"], "SEGMENT_TOKEN": TOKEN, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def worker(kafka: str, redis_url: str, tmp_path: Path) -> Iterator[ReaderOfTheReadme]:
    worker = ReaderOfTheReadme(kafka, redis_url, tmp_path)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def test_who_does_what_the_readme_says_fires_an_event(worker: ReaderOfTheReadme) -> None:
    first, second = blocks("console")
    told = worker.types(first)
    assert told.startswith("HTTP/1.1 200"), told
    secret = json.loads(told[told.index('{"message"') :])["secret"]
    answers: list[str] = []

    def is_taken() -> bool:
        answers.append(worker.types(second, ORDERS_SECRET=secret))
        return answers[-1].startswith("HTTP/1.1 200")

    eventually(is_taken, "the webhook takes the request", 30)
    assert '"outcome":"accepted"' in answers[-1]
