"""Sets logging up: structlog for our lines, rendered through the standard library, so that all lines share one format."""

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.types import Processor

from pipeline.logs.quiet import LIBRARIES, Quiet
from pipeline.logs.redaction import redact

LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
_SHORT_LEVELS = {"crit": "critical", "warn": "warning"}

_SERVICE = re.compile(r"\[\^-*([^\]]*?)\s*\]: ")
"""How mode's services introduce themselves, with a dash for each level below the worker."""


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send all log lines of this process to ``stream`` (standard error where absent).

    They are for eyes where ``stream`` is a terminal, JSON objects elsewhere. ``level`` is one of ``LEVELS``, in any case;
    at ``debug`` the libraries tell everything too. Raises ``ValueError`` for another level. May be called again: the last
    call counts.
    """
    name = _SHORT_LEVELS.get(level.lower(), level.lower())
    if name not in LEVELS:
        raise ValueError(f"log level {level!r} does not exist; allowed: {', '.join(LEVELS)}")
    stream = sys.stderr if stream is None else stream
    is_terminal = stream.isatty()
    shared = _shared_processors(is_terminal=is_terminal)
    handler = logging.StreamHandler(stream)
    handler.addFilter(Quiet(is_detailed=name == "debug"))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                _head_first,
                _renderer(is_terminal=is_terminal),
            ],
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _say_the_service_plainly],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(LEVELS[name])
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a later call of configure reaches loggers that are in use already
    )


def _shared_processors(*, is_terminal: bool) -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if is_terminal else "iso", utc=not is_terminal),
        structlog.processors.StackInfoRenderer(),
        *([_name_libraries_only] if is_terminal else []),
    ]


def _renderer(*, is_terminal: bool) -> Processor:
    if not is_terminal:
        return structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    return structlog.dev.ConsoleRenderer(
        colors="NO_COLOR" not in os.environ,
        pad_event_to=1,
        pad_level=False,
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,  # others print local variables, secrets among them
    )


def _head_first(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put what every line has before what only this one has."""
    head = {key: event.pop(key) for key in ("timestamp", "level", "logger", "event") if key in event}
    return {**head, **event}


def _name_libraries_only(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leave out the logger's name on a terminal, where it costs a third of the line, except where it says who complains."""
    name = str(event.pop("logger", "")).partition(".")[0]
    if name in LIBRARIES:
        event["logger"] = name
    return event


def _say_the_service_plainly(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turn ``[^---Recovery]: Recovery complete`` into ``Recovery: Recovery complete``."""
    event["event"] = _SERVICE.sub(r"\1: ", str(event["event"]), count=1)
    return event
