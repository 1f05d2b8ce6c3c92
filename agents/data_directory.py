"""A worker's data directory: used by one process at a time, and for one app on one Kafka cluster.

What lies in it are copies of the app's changelogs, with the offsets up to which they were read. Beside other changelogs, those
of another app or on another cluster, such copies are wrong: their rows would be written there, and rows that are there passed over.
"""

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DataDirectoryError
from pipeline.local.servers import default_directory

OWNER_FILE = "owner.json"
_LOCK_FILE = "lock"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose tables a data directory holds; ``cluster`` is the id of the Kafka cluster, ``None`` where brokers name none."""

    app: str
    cluster: str | None


def chosen() -> Path:
    """The directory that ``--datadir`` names, or the default."""
    return Path(os.environ.get("F_DATADIR") or default_directory() / "data")


def take(folder: Path, *, advice: str) -> None:
    """Have ``folder`` for this process alone, for as long as it lasts; ``advice`` is what to do where another one has it.

    Raises DataDirectoryError where another process has it, or it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise DataDirectoryError(f"the data directory {folder} is in use by a worker: {advice}") from error


def claim(folder: Path, owner: Owner) -> None:
    """Note in ``folder``, which this process has taken, whose it is; tables without such a note are taken as ``owner``'s.

    Raises DataDirectoryError where it is somebody else's, or where nobody can tell.
    """
    noted = check(folder, owner)
    if noted is None or noted.cluster is None:
        _note(folder, owner)


def check(folder: Path, owner: Owner) -> Owner | None:
    """Give what ``folder`` says of whose it is, if anything; raises DataDirectoryError where that is somebody else than ``owner``."""
    noted = _noted(folder)
    if noted is not None and (problem := refusal(folder, noted, owner)):
        raise DataDirectoryError(problem)
    return noted


def refusal(folder: Path, noted: Owner, owner: Owner) -> str:
    """Why ``folder``, which is ``noted``'s, is not for ``owner``; empty where it is. A cluster without an id may be any."""
    if noted.app != owner.app:
        whose = f"of app {noted.app}, and this is app {owner.app}"
        when = f"if {noted.app} needs it here no more"
    elif noted.cluster and owner.cluster and noted.cluster != owner.cluster:
        whose = f"of app {noted.app} on the Kafka cluster {noted.cluster}, and this is the cluster {owner.cluster}"
        when = "if that cluster is gone, as it is after `distributary local reset`"
    else:
        return ""
    return (
        f"the data directory {folder} holds the tables {whose}: choose another one, for example "
        f"`distributary --datadir {folder}-{owner.app} worker`, or delete {folder} {when}; "
        "tables that are missing are read again from Kafka"
    )


def _noted(folder: Path) -> Owner | None:
    path = folder / OWNER_FILE
    try:
        return _owner_of(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(folder, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataDirectoryError(
            f"{path} does not say whose tables these are: choose another --datadir, or delete {folder}; "
            "tables that are missing are read again from Kafka"
        ) from error


def _owner_of(document: dict[str, object]) -> Owner:
    app, cluster = document["app"], document["cluster"]
    if document["version"] != _VERSION or not isinstance(app, str) or not isinstance(cluster, str | None):
        raise ValueError(OWNER_FILE)
    return Owner(app, cluster)


def _note(folder: Path, owner: Owner) -> None:
    """Write the note in one step, so that it is there whole, or not at all, whatever happens meanwhile."""
    document = {"version": _VERSION, "app": owner.app, "cluster": owner.cluster}
    draft = folder / f"{OWNER_FILE}.draft"
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(json.dumps(document, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / OWNER_FILE)
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> DataDirectoryError:
    return DataDirectoryError(f"cannot use the data directory {folder}: {error.strerror}; choose another --datadir")
