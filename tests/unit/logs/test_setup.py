import io
import json
import logging
import warnings

import pytest
import structlog

from pipeline import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_own_and_library_lines_are_json_with_the_same_keys():
    stream = io.StringIO()
    logs.configure("info", stream)
    structlog.get_logger("agents.route").info("chunk routed", topic="t", events=3)
    logging.getLogger("aiokafka.client").error("Unable connect to node with id %s", 7)
    own, library = lines(stream)
    assert (
        own.items()
        >= {"level": "info", "logger": "agents.route", "event": "chunk routed", "topic": "t", "events": 3}.items()
    )
    assert library["event"] == "Unable connect to node with id 7"
    assert list(own)[:4] == list(library)[:4] == ["timestamp", "level", "logger", "event"]


def test_a_service_of_the_engine_says_its_name_plainly():
    stream = io.StringIO()
    logs.configure("info", stream)
    logging.getLogger("faust.tables.recovery").info("[^----Recovery]: Recovery complete")
    assert lines(stream)[0]["event"] == "Recovery: Recovery complete"


def test_a_terminal_gets_a_line_that_fits(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    logs.configure("INFO", stream)
    structlog.get_logger("agents.window").info("partitions assigned", topic="channels-tracking-log", partitions="0-3")
    line = stream.getvalue().rstrip("\n")
    assert line.endswith("[info] partitions assigned topic=channels-tracking-log partitions=0-3")
    assert len(line) <= 80


def refuse(password: str) -> None:
    raise RuntimeError(f"refused: password={password}")


def test_an_exception_is_told_without_the_values_of_its_variables():
    for stream in (io.StringIO(), Terminal()):
        logs.configure("info", stream)
        customer = "hun" + "ter2"
        try:
            refuse(customer)
        except RuntimeError:
            structlog.get_logger("x").exception("failed")
        assert "RuntimeError: refused" in stream.getvalue()
        assert "hunter2" not in stream.getvalue()


def test_secrets_are_masked_whoever_logs_them():
    stream = io.StringIO()
    logs.configure("info", stream)
    structlog.get_logger("x").bind(authorization="hunter2").info("sending")
    logging.getLogger("y").warning("asked with %s", "token=hunter2", extra={"secret": "hunter2"})
    assert "hunter2" not in stream.getvalue()
    assert len(lines(stream)) == 2


def test_context_goes_with_every_line():
    stream = io.StringIO()
    logs.configure("info", stream)
    structlog.contextvars.bind_contextvars(batch="crm:0-100")
    structlog.get_logger("x").info("tried")
    assert lines(stream)[0]["batch"] == "crm:0-100"


def test_the_level_bounds_what_is_written():
    stream = io.StringIO()
    logs.configure("warn", stream)
    structlog.get_logger("x").info("no")
    structlog.get_logger("x").warning("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"]


def test_a_level_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ValueError, match="'loud' does not exist; allowed: critical, error, warning, info, debug"):
        logs.configure("loud")


def test_configured_again_the_last_call_counts_for_loggers_in_use():
    first, second = io.StringIO(), io.StringIO()
    log = structlog.get_logger("x")
    logs.configure("info", first)
    log.info("one")
    logs.configure("debug", second)
    log.debug("two")
    assert [line["event"] for line in lines(first)] == ["one"]
    assert [line["event"] for line in lines(second)] == ["two"]


def test_warnings_of_python_become_lines():
    stream = io.StringIO()
    logs.configure("info", stream)
    warnings.warn("old option", DeprecationWarning, stacklevel=1)
    assert any("old option" in line["event"] for line in lines(stream))
