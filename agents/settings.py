"""The settings of this process: ``faust.yml`` and the environment, read once."""

import functools

from pipeline.config.load import load
from pipeline.config.schema import Settings


@functools.cache
def current() -> Settings:
    """Read the configuration the first time; raises ``ConfigError``."""
    return load()
