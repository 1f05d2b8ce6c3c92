"""The child process that talks to the jar repository, through jgo (no Java and no Maven needed).

``python -m pipeline.local.fetch_jars FOLDER GROUP:ARTIFACT:VERSION...`` prints ``jar PATH`` for each fetched jar, or one
line ``error WHY``. ``python -m pipeline.local.fetch_jars --lock FILE`` resolves Kafka's dependencies anew and writes the
lock file: for whoever raises Kafka's version.
"""

import hashlib
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import jgo
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import Artifact, MavenContext

from pipeline.local.jars import KAFKA_ENDPOINT, KAFKA_VERSION, read_lock

_IN_PARALLEL = 4
_TIMEOUT_S = 20


def fetch(folder: Path, coordinates: list[str]) -> int:
    """Fetch each jar into ``folder``, in any order, and print where it is."""
    settings = GlobalSettings.load()
    # A mirror that jgo's own settings name is tried first; the lock file makes any source as good as another.
    mirrors = {**settings.repositories, "central": MAVEN_CENTRAL_URL}
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as repository:
        context = MavenContext(repo_cache=Path(repository), remote_repos=mirrors, timeout=_TIMEOUT_S)
        artifacts = [_artifact(context, coordinate) for coordinate in coordinates]
        with ThreadPoolExecutor(_IN_PARALLEL) as pool:
            futures = [pool.submit(artifact.resolve) for artifact in artifacts]
            for future in as_completed(futures):
                if (error := future.exception()) is not None:
                    pool.shutdown(wait=False, cancel_futures=True)
                    print("error", _in_one_line(error), flush=True)  # noqa: T201
                    return 1
                jar = future.result()
                jar = jar.rename(folder / jar.name)
                print("jar", jar, flush=True)  # noqa: T201
    return 0


def write_lock(path: Path) -> int:
    """Resolve Kafka's dependencies and write them to ``path``."""
    lines = [
        f"# Apache Kafka {KAFKA_VERSION} and what it needs. Written by: python -m pipeline.local.fetch_jars --lock"
    ]
    for artifact in jgo.resolve(KAFKA_ENDPOINT):
        digest = hashlib.sha256(artifact.resolve().read_bytes()).hexdigest()
        lines.append(f"{artifact.groupId}:{artifact.artifactId}:{artifact.version} {digest}")
    text = "\n".join([lines[0], *sorted(lines[1:])]) + "\n"
    print(f"{len(read_lock(text))} jars")  # noqa: T201
    path.write_text(text, encoding="utf-8")
    return 0


def _artifact(context: MavenContext, coordinate: str) -> Artifact:
    group, artifact, version = coordinate.split(":")
    return context.project(group, artifact).at_version(version).artifact()


def _in_one_line(error: BaseException) -> str:
    """The innermost words of a chain of network errors, without the address that it happened to try."""
    while error.__context__ is not None:
        error = error.__context__
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


if __name__ == "__main__":
    if sys.argv[1] == "--lock":
        sys.exit(write_lock(Path(sys.argv[2])))
    sys.exit(fetch(Path(sys.argv[1]), sys.argv[2:]))
