import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commands.test_commands import Shell

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LOCALLY = ("--allow-http", "--allow-loopback")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@contextmanager
def receiving(shell: Shell, *arguments: str, **environment: str) -> Iterator[tuple[str, str]]:
    """Run ``distributary receiver``; gives where it receives, and where it counts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "agents", "receiver", "--port", "0", *arguments],
        cwd=shell.folder,
        env={**shell.environment, **environment, "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        yield words[2].rstrip(","), words[-1]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def test_conform_reports_in_a_table_and_in_json_and_its_status_says_how_it_went(shell: Shell):
    with receiving(shell, "--secret", SECRET) as (url, _):
        status, lines, errors = shell.run("conform", url, *LOCALLY, "--secret", SECRET)
        assert (status, errors) == (0, [])
        assert max(map(len, lines)) <= 80
        assert any(line.startswith("PASS    a wrong signature") for line in lines)
        status, lines, _ = shell.run("conform", url, *LOCALLY, "--json")
        report = json.loads("\n".join(lines))
    assert status == 1
    assert report["passed"] is False
    assert [check["name"] for check in report["checks"] if check["grade"] == "fail"] == ["a plain delivery"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["crm.example/events"], "whole URL"),
        (["grpc://crm.example:443"], "not gRPC"),
        (["http://crm.example/"], "--allow-http"),
        (["http://127.0.0.1:9/", "--allow-http"], "--allow-loopback"),
        (["http://localhost:9/", "--allow-http"], "--allow-loopback"),
        (["https://10.1.2.3/"], "--allow-network"),
        (["https://user:secret@crm.example/"], "--authorization"),
        (["https://crm.example/", "--secret", "x"], "whsec_"),
        (["https://crm.example/", "--kind", "email", "--secret", "x"], "not signed"),
    ],
)
def test_conform_says_in_a_line_why_it_does_not_begin(shell: Shell, arguments: list[str], words: str):
    status, out, (line,) = shell.run("conform", *arguments)
    assert (status, out) == (1, [])
    assert words in line


def test_receiver_of_kind_grpc_counts_on_a_second_port(shell: Shell):
    with receiving(shell, "--kind", "grpc", "--stats-port", "0") as (url, stats_url):
        assert url.startswith("grpc://127.0.0.1:")
        assert stats_url.startswith("http://127.0.0.1:")
        assert stats_url.endswith("/stats")


def test_receiver_names_options_that_do_not_fit_its_kind(shell: Shell):
    status, _, (line,) = shell.run("receiver", "--kind", "email", "--secret", "x")
    assert (status, "not signed" in line) == (1, True)
    status, _, lines = shell.run("receiver", "--kind", "grpc", "--secret", "x")
    assert (status, "--authorization" in lines[-1]) == (2, True)
