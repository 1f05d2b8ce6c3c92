"""What a folder of local servers remembers: which processes run, and which ports they have."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.errors import LocalServerError
from pipeline.local.process import ProcessMark

STATE_FILE = "state.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server: its ports, which outlive it, and its processes while it runs."""

    ports: tuple[int, ...] = ()
    supervisor: ProcessMark | None = None
    server: ProcessMark | None = None

    @property
    def is_running(self) -> bool:
        """Whether both the server and its supervisor are the processes that were started."""
        return bool(self.supervisor and self.server and self.supervisor.is_alive and self.server.is_alive)

    def stopped(self) -> "ServerState":
        """The same ports without the processes."""
        return replace(self, supervisor=None, server=None)


@dataclass(slots=True)
class State:
    """The state file of a folder. A missing or unreadable file reads as no servers: it only saves work."""

    servers: dict[str, ServerState] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "State":
        """Read the state of ``folder``; raises LocalServerError where it is no folder, or not one for this user."""
        try:
            document = json.loads((folder / STATE_FILE).read_bytes())
            if document["version"] != _VERSION:
                return cls()
            return cls({name: _server_of(entry) for name, entry in document["servers"].items()})
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return cls()
        except OSError as error:
            raise LocalServerError(
                f"{folder}: cannot be read ({error.strerror}); set DISTRIBUTARY_HOME to a folder that can"
            ) from None

    def save(self, folder: Path) -> None:
        """Write the state of ``folder`` in one step, so that a reader sees the old or the new."""
        servers = {name: _entry_of(server) for name, server in self.servers.items()}
        draft = folder / f"{STATE_FILE}.draft"
        draft.write_text(json.dumps({"version": _VERSION, "servers": servers}, indent=2) + "\n", encoding="utf-8")
        draft.replace(folder / STATE_FILE)

    def of(self, name: str) -> ServerState:
        """What is known of server ``name``."""
        return self.servers.get(name, ServerState())


def _server_of(entry: dict[str, object]) -> ServerState:
    ports = entry["ports"]
    if not isinstance(ports, list) or not all(isinstance(port, int) and 0 < port < 65_536 for port in ports):  # noqa: PLR2004
        raise TypeError("ports")
    return ServerState(tuple(ports), _mark_of(entry["supervisor"]), _mark_of(entry["server"]))


def _mark_of(entry: object) -> ProcessMark | None:
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise TypeError("process")
    return ProcessMark(int(entry["pid"]), str(entry["started"]))


def _entry_of(server: ServerState) -> dict[str, object]:
    def mark(process: ProcessMark | None) -> dict[str, object] | None:
        return None if process is None else {"pid": process.pid, "started": process.started}

    return {"ports": list(server.ports), "supervisor": mark(server.supervisor), "server": mark(server.server)}
