"""``distributary doctor`` as a person or a script meets it, against endpoints on loopback."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner
from standardwebhooks import Webhook

from agents.commands import doctor
from tests.commands.test_commands import Shell
from tests.support.closed_port import closed_port

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "Bearer t0ken-of-crm-7f3a9c"


class Endpoint(BaseHTTPRequestHandler):
    """Answers as the path says, and repeats the headers that came."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((dict(self.headers), body))  # type: ignore[attr-defined]
        answer = str(self.headers).encode()
        self.send_response(int(self.path.strip("/") or 200))
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.seen = []  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def closed() -> Iterator[int]:
    with closed_port() as port:
        yield port


@pytest.fixture
def shell(tmp_path: Path, endpoint: ThreadingHTTPServer, closed: int) -> Shell:
    made = Shell(tmp_path)
    made.environment |= {"CRM_TOKEN": TOKEN, "CRM_SECRET": SECRET}
    usual = "kind: http, events: '*', platforms: '*', authorization: '${CRM_TOKEN}'"
    port = endpoint.server_address[1]
    made.write(
        "faust.yml",
        "outbound: {allow_http: true, allow_networks: [127.0.0.0/8]}\n"
        "integrations:\n"
        f"  - {{id: crm, url: 'http://127.0.0.1:{port}/', signing: {{secrets: ['${{CRM_SECRET}}']}}, {usual}}}\n"
        f"  - {{id: locked, url: 'http://127.0.0.1:{port}/401', {usual}}}\n"
        f"  - {{id: closed, url: 'http://127.0.0.1:{closed}/', {usual}}}\n"
        f"  - {{id: tokens, kind: xtremepush, url: 'http://127.0.0.1:{port}/', events: '*', platforms: '*', channels: [Email],\n"
        f"     enabled: false, auth: {{type: oauth2, token_url: 'http://127.0.0.1:{closed}/', client_id: a, client_secret: b}}}}\n"
        f"  - {{id: off, url: 'http://127.0.0.1:{closed}/', enabled: false, {usual}}}\n",
    )
    return made


def test_a_healthy_integration_is_a_line_a_step_and_status_0(shell: Shell, endpoint: ThreadingHTTPServer):
    status, lines, errors = shell.run("doctor", "crm")
    assert (status, errors) == (0, [])
    assert lines[0] == f"crm: http to 127.0.0.1:{endpoint.server_address[1]}"
    assert [line.split()[:2] for line in lines[1:-1]] == [
        ["good", "configuration"],
        ["good", "name"],
        ["good", "connection"],
        ["good", "test"],
    ]
    assert lines[-1] == "all is well"
    ((headers, body),) = endpoint.seen
    Webhook(SECRET).verify(body.decode(), {name.lower(): value for name, value in headers.items()})
    assert headers["Authorization"] == TOKEN
    assert headers["distributary-purpose"] == "test"


@pytest.mark.parametrize(
    ("name", "words"), [("locked", "401 Unauthorized"), ("closed", "connection refused")], ids=["locked", "closed"]
)
def test_what_is_wrong_is_told_in_80_columns_with_status_1_and_no_secret(shell: Shell, name: str, words: str):
    status, lines, errors = shell.run("doctor", name)
    assert (status, errors, lines[-1]) == (1, [], "something is wrong")
    assert words in " ".join(" ".join(lines).split())
    assert any(line.strip().startswith("-> ") for line in lines)
    assert [line for line in lines if len(line) > 80] == []
    assert TOKEN.split()[1] not in "\n".join(lines)


def test_without_sending_the_endpoint_is_only_connected_to(shell: Shell, endpoint: ThreadingHTTPServer):
    status, lines, _ = shell.run("doctor", "locked", "--no-send")
    assert (status, lines[-1], endpoint.seen) == (0, "all is well", [])


def test_a_token_endpoint_that_is_away_is_named_by_its_setting_and_nothing_is_sent(
    shell: Shell, endpoint: ThreadingHTTPServer
):
    status, lines, _ = shell.run("doctor", "tokens", "--json")
    steps = json.loads("\n".join(lines))["steps"]
    assert status == 1
    assert [(step["name"], step["state"]) for step in steps if "auth.token_url" in step["text"]] == [
        ("name", "good"),
        ("connection", "bad"),
    ]
    assert (steps[-1]["state"], endpoint.seen) == ("skipped", [])


def test_json_has_every_step_and_no_secret(shell: Shell):
    status, lines, _ = shell.run("doctor", "locked", "--json")
    found = json.loads("\n".join(lines))
    assert (status, found["is_well"], found["integration"]) == (1, False, "locked")
    assert [step["name"] for step in found["steps"]] == ["configuration", "name", "connection", "test event"]
    assert found["steps"][-1]["facts"]["status"] == 401
    assert TOKEN.split()[1] not in "\n".join(lines)


def test_all_of_them_are_a_table_with_a_line_each(shell: Shell):
    status, lines, errors = shell.run("doctor", "--all")
    assert status == 1
    assert [line.partition(",")[0] for line in errors] == ["only the integrations of faust.yml are known"]
    assert [line.split()[:2] for line in lines[1:-1]] == [
        ["good", "crm"],
        ["BAD", "locked"],
        ["BAD", "closed"],
        ["-", "tokens"],
        ["-", "off"],
    ]
    assert lines[-1] == "3 examined, 2 with something to look at"
    assert [line for line in lines if len(line) > 80] == []


def test_all_of_them_as_json_are_a_list(shell: Shell):
    status, lines, _ = shell.run("doctor", "--all", "--no-send", "--json")
    assert status == 1
    assert [(each["integration"], each["is_well"]) for each in json.loads("\n".join(lines))] == [
        ("crm", True),
        ("locked", True),
        ("closed", False),
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["crn"], 1, "Error: the configuration has no integration crn; did you mean crm?"),
        ([], 2, "Error: name one integration, or give --all"),
        (["crm", "--all"], 2, "Error: name one integration, or give --all"),
    ],
    ids=["unknown", "neither", "both"],
)
def test_what_cannot_be_examined_is_told(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, words: str
):
    for name in ("CRM_TOKEN", "CRM_SECRET"):
        monkeypatch.setenv(name, shell.environment[name])
    monkeypatch.setenv("DISTRIBUTARY_CONFIG", str(shell.folder / "faust.yml"))
    shown = CliRunner().invoke(doctor.command, arguments)
    assert (shown.exit_code, shown.output.splitlines()[-1]) == (status, words)


def test_a_wrong_configuration_is_told_as_everywhere(shell: Shell):
    shell.write("faust.yml", "app: Bad App\n")
    status, out, (line,) = shell.run("doctor", "crm")
    assert (status, out) == (1, [])
    assert line.startswith("faust.yml:1 app: ")


def test_all_of_no_integration_is_well(shell: Shell, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DISTRIBUTARY_CONFIG", str(shell.write("faust.yml", "app: test\n")))
    shown = CliRunner().invoke(doctor.command, ["--all"])
    assert (shown.exit_code, shown.output.splitlines()[-1]) == (0, "0 examined, 0 with something to look at")
