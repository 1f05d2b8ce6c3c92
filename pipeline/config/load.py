"""Reads ``faust.yml`` and the environment into ``Settings``, or reports every mistake at once."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr, ValidationError

from pipeline.config.describe import chooser_of, field_at, settings_of_kind
from pipeline.config.schema import BROKER_SCHEME, Outbound, Settings, check_redis_url, parse_brokers
from pipeline.config.tree import Location, Problem, Tree
from pipeline.config.words import chooser, explain
from pipeline.errors import ConfigError
from pipeline.model.integration import Integration
from pipeline.model.section import Origin
from pipeline.notices.settings import NoticeSettings

DEFAULT_PATH: Final = Path("faust.yml")
PATH_VARIABLE: Final = "DISTRIBUTARY_CONFIG"
BROKERS_VARIABLE: Final = "KAFKA_BROKERS"
REDIS_VARIABLE: Final = "REDIS_URL"

_MOST_BYTES: Final = 32 << 20
_TLS_FILES: Final = ("ca", "cert", "key")


def load(path: str | Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the configuration.

    ``path`` defaults to what ``DISTRIBUTARY_CONFIG`` names, else ``faust.yml`` of the current directory; ``environment``
    to the process's. Raises ``ConfigError`` with every mistake, each as ``file:line key: what is wrong``.
    """
    environment = os.environ if environment is None else environment
    file = Path(path or environment.get(PATH_VARIABLE) or DEFAULT_PATH)
    tree = Tree(_text_of(file), environment)
    if not isinstance(tree.data, dict):
        raise ConfigError([_line(file, problem) for problem in tree.problems] or [_not_a_mapping(file, tree)])
    _root_paths(tree.data, file.parent)
    settings, problems = _validated(tree)
    problems = [*tree.problems, *problems, *_between(tree)]
    lines = [_line(file, problem) for problem in _first_at_each_place(problems)]
    from_environment, more_lines = _from_environment(tree.data, environment)
    if lines or more_lines or settings is None:
        raise ConfigError(lines + more_lines)
    return settings.model_copy(update=from_environment)


def _text_of(file: Path) -> str:
    elsewhere = f"name another with --config FILE or {PATH_VARIABLE}"
    try:
        with file.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError([f"{file}: there is no such file; {elsewhere}"]) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "its name cannot be used"
        raise ConfigError([f"{file}: cannot be read ({why}); {elsewhere}"]) from None
    if len(content) > _MOST_BYTES:
        raise ConfigError([f"{file}: is larger than {_MOST_BYTES >> 20}MiB; is it the right file?"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{file}:{line}: is not UTF-8 text; save it as UTF-8"]) from None


def _not_a_mapping(file: Path, tree: Tree) -> str:
    if tree.data is None:
        return f"{file}:1: is empty; {{}} alone takes every default"
    return f"{file}:1: must be a mapping of keys, each as `key: value`"


def _root_paths(data: dict[str, Any], directory: Path) -> None:
    """Let relative paths of TLS files start from where the configuration lies."""
    for section in (*_mappings(data.get("integrations")), *_mappings([data.get("inbound")])):
        tls = section.get("tls")
        if isinstance(tls, dict):
            tls |= {key: str(directory / tls[key]) for key in _TLS_FILES if isinstance(tls.get(key), str) and tls[key]}


def _validated(tree: Tree) -> tuple[Settings | None, list[Problem]]:
    try:
        return Settings.model_validate(tree.data, context=Origin.FILE, by_alias=True, by_name=False), []
    except ValidationError as error:
        problems = []
        for mistake in error.errors(include_url=False, include_input=False):
            location = location_of(mistake["loc"], tree.data)
            message = tree.without_environment(location, explain(mistake, location, tree.data))
            if mistake["type"] in {"union_tag_invalid", "union_tag_not_found"}:
                location = (*location, chooser(mistake))
            problems.append(Problem(tree.line_of(location), location, message))
        return None, problems


def location_of(loc: Location, data: Any) -> Location:
    """Turn pydantic's location of a mistake in ``data``, the whole tree that was read, into that of the file."""
    if loc[0] == "integrations":
        loc = loc[:2] + loc[3:]  # the third step is the kind by which pydantic chose the class
    location: Location = ()
    value, names_variant = data, False
    for step in loc:
        if names_variant:
            names_variant = False  # this step is the word by which pydantic chose among several sections
            continue
        if isinstance(value, dict):
            value = value.get(str(step))
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step]
        else:
            break  # one of the parts that a text with commas was split into
        location = (*location, step)
        field = field_at(location, data)
        names_variant = field is not None and chooser_of(field) is not None
    return location


def _between(tree: Tree) -> Iterator[Problem]:
    """Check what holds between parts, on what was read, so that it is reported together with all else."""
    outbound = _outbound(tree.data)
    integrations = tree.data.get("integrations")
    yield from _repeated_ids(tree, integrations, ("integrations",), "integration")
    for index, integration in enumerate(integrations if isinstance(integrations, list) else []):
        if isinstance(integration, dict):
            settings = settings_of_kind(integration.get("kind")) or Integration
            yield from _refused(tree, outbound, ("integrations", index), settings.url_keys)
    yield from _refused(tree, outbound, ("notices",), NoticeSettings.url_keys)
    inbound = tree.data.get("inbound")
    if isinstance(inbound, dict):
        yield from _repeated_ids(tree, inbound.get("webhooks"), ("inbound", "webhooks"), "webhook")
    elif inbound is None and tree.data.get("segment_destination") is not None:
        here: Location = ("segment_destination",)
        message = "needs the listener of inbound; add `inbound: {}`, or leave this out"
        yield Problem(tree.line_of(here), here, message)


def _repeated_ids(tree: Tree, entries: Any, section: Location, noun: str) -> Iterator[Problem]:
    """Each id among ``entries``, the list at ``section``, that an entry before it has already."""
    first_lines: dict[str, int] = {}
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        name = entry.get("id") if isinstance(entry, dict) else None
        here = (*section, index, "id")
        if isinstance(name, str) and name in first_lines:
            message = f"is already the id of the {noun} in line {first_lines[name]}; ids are unique"
            yield Problem(tree.line_of(here), here, message)
        elif isinstance(name, str):
            first_lines[name] = tree.line_of(here)


def _refused(
    tree: Tree, outbound: Outbound | None, section: Location, keys: Iterable[tuple[str, ...]]
) -> Iterator[Problem]:
    """Each of ``keys`` in ``section`` that says to connect to where ``outbound`` does not permit it."""
    for key in keys:
        here: Location = (*section, *key)
        url: Any = tree.data
        for step in here:
            if isinstance(url, dict):
                url = url.get(step)
            else:
                url = url[step] if isinstance(url, list) and isinstance(step, int) else None
        refusal = outbound.refusal(url) if outbound is not None and isinstance(url, str) else None
        if refusal is not None:
            yield Problem(tree.line_of(here), here, tree.without_environment(here, refusal))


def _outbound(data: dict[str, Any]) -> Outbound | None:
    try:
        return Outbound.model_validate(data.get("outbound") or {}, context=Origin.FILE)
    except ValidationError:
        return None


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    return (each for each in (value if isinstance(value, list) else []) if isinstance(each, dict))


def _first_at_each_place(problems: list[Problem]) -> list[Problem]:
    """In the file's order; what follows from another mistake at the same place says nothing new."""
    chosen: dict[tuple[int, Location], Problem] = {}
    for problem in sorted(problems, key=lambda problem: problem.line):
        chosen.setdefault((problem.line, problem.location), problem)
    return list(chosen.values())


def _line(file: Path, problem: Problem) -> str:
    if not problem.location:
        return f"{file}:{problem.line}: {problem.message}"
    key = ".".join(_shown(step) for step in problem.location)
    return f"{file}:{problem.line} {key}: {problem.message}"


def _shown(step: str | int) -> str:
    text = str(step)
    return text if text.isprintable() and text else repr(text)


def _from_environment(data: dict[str, Any], environment: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """What the environment gives where the file is silent."""
    values: dict[str, Any] = {}
    problems = []
    if data.get("broker") is None and environment.get(BROKERS_VARIABLE):
        try:
            values["broker"] = BROKER_SCHEME + ",".join(parse_brokers(environment[BROKERS_VARIABLE]))
        except ValueError as error:
            problems.append(f"environment {BROKERS_VARIABLE}: {error}")
    if data.get("redis") is None and environment.get(REDIS_VARIABLE):
        try:
            values["redis"] = check_redis_url(SecretStr(environment[REDIS_VARIABLE]))
        except ValueError as error:
            problems.append(f"environment {REDIS_VARIABLE}: {error}")
    return values, problems
