"""Log lines: one format for the project's own and its libraries', without secrets, without noise.

Own modules log with ``structlog.get_logger(__name__)``: the event in words, everything that varies as keys.
"""

from pipeline.logs.redaction import redact
from pipeline.logs.setup import LEVELS, configure

__all__ = ["LEVELS", "configure", "redact"]
