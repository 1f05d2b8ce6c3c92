"""Everything that the first start of the local Kafka would have to wait for, done beforehand.

``python -m pipeline.local.prepare`` fetches the jars and makes Java's ahead-of-time cache from one run of a broker: some
twenty seconds once per user account, for starts in half the time.
"""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from pipeline.errors import LocalServerError
from pipeline.local import ports
from pipeline.local.jars import kafka_jars
from pipeline.local.java import aot_cache
from pipeline.local.kafka import KafkaServer
from pipeline.local.lock import locked
from pipeline.local.process import wait_until
from pipeline.local.server import Progress

_MAKE_S = 120.0


def prepare(on_progress: Progress) -> None:
    """Fetch the jars and make the cache, unless both are there.

    Raises LocalServerError when the jars cannot be had. A cache that cannot be made is only told: starts take longer.
    """
    jars = kafka_jars(on_progress)
    with locked(jars[0].parent / "lock", timeout_s=600.0):
        cache = aot_cache(jars)
        if cache.exists():
            return
        for outdated in cache.parent.glob("start-*.aot*"):
            outdated.unlink()
        on_progress("preparing fast starts of Apache Kafka, once per user account")
        draft = cache.with_suffix(".aot.draft")
        with tempfile.TemporaryDirectory(prefix="distributary-") as folder:
            if not _run_once(Path(folder), draft):
                on_progress("fast starts cannot be prepared here; starts take a few seconds longer")
                return
        draft.replace(cache)


def _run_once(folder: Path, draft: Path) -> bool:
    kafka = KafkaServer()
    broker = ports.choose()
    chosen = (broker, ports.choose(besides={broker}))
    java, *rest = kafka.command(folder, chosen, lambda _: None)
    child = subprocess.Popen(  # noqa: S603
        [java, f"-XX:AOTCacheOutput={draft}", *rest],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: child.poll() is not None or kafka.is_ready(chosen), kafka.start_deadline_s)
        child.send_signal(signal.SIGTERM)
        child.wait(_MAKE_S)
    except subprocess.TimeoutExpired:
        return False
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    return draft.exists()


if __name__ == "__main__":
    try:
        prepare(print)
    except LocalServerError as problem:
        sys.exit(str(problem))
