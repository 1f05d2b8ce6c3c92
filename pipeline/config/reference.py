"""Writes ``docs/configuration.md`` from the schema: ``python -m pipeline.config.reference [--check]``."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config.describe import chooser_of, entry_of, keys_of, section_of, sections_of, type_in_words, variants_of
from pipeline.config.schema import Settings
from pipeline.model.integration import EVERYTHING, Integration
from pipeline.model.units import Duration, Size, format_duration, format_size
from pipeline.sinks.registry import SINKS

PAGE: Final = Path("docs/configuration.md")

_INTRODUCTION: Final = """\
<!-- Made by `python -m pipeline.config.reference` from the code. Change the descriptions there. -->

# Configuration

A worker reads `faust.yml`, or the file that `--config FILE` or `DISTRIBUTARY_CONFIG` names. `distributary check` reports
every mistake at once, each as `file:line key: what is wrong`; a worker does the same and does not start.

- **Durations and sizes carry their unit**: `250ms`, `30s`, `5m`, `1h`, `3d`; `512B`, `64KiB`, `1MiB`, `8MB`.
- **`${NAME}`** in a value is the environment variable of that name, put in after the file is parsed. An unset variable is a
  mistake. `$${` stands for the two characters `${`. Keys are taken as they are.
- **Lists of names** may also be written as one text with commas: `events: Email Sent, Push Sent`.
- A key with nothing behind it is as good as absent. A key that is not on this page is a mistake.
- Relative paths start from the directory of the configuration file.
- Only `true`, `false` and whole numbers are anything but text, so `NO` and `1:30` need no quotes.

Where the file names no `broker` or `redis`, the environment's `KAFKA_BROKERS` (`host:port,host:port`) and `REDIS_URL` are
used, and where these are unset too, local servers.
"""


def page() -> str:
    """The whole page, as Markdown."""
    blocks = [_INTRODUCTION.rstrip()]
    sections = {"outbound", "integrations", "notices", "inbound", "segment_destination", "users", "view", "worker"}
    top = {key: name for key, name in keys_of(Settings).items() if key not in sections}
    blocks += ["## Top level", *_entries(Settings, top)]
    blocks += _section("outbound", Settings.model_fields["outbound"])
    blocks += [
        "## integrations",
        _text(Settings.model_fields["integrations"]),
        "Each entry of the list has these keys.",
    ]
    kinds = " or ".join(f"`{spec.kind}` ({spec.summary.rstrip('.')})" for spec in SINKS)
    blocks += _entries(Integration, keys_of(Integration), prefix="integrations[].", types={"kind": kinds})
    for spec in SINKS:
        blocks += [f"## integrations of kind {spec.kind}", "These keys come on top, or are different from those above."]
        blocks += _differences(spec.settings, Integration, prefix="integrations[].")
    for key in ("notices", "inbound", "segment_destination", "users", "view", "worker"):
        blocks += _section(key, Settings.model_fields[key])
    return "\n\n".join(blocks) + "\n"


def _section(key: str, field: FieldInfo) -> Iterator[str]:
    section = section_of(field)
    assert section is not None
    yield f"## {key}"
    yield _text(field)
    yield from _entries(section, keys_of(section), prefix=f"{key}.")


def _entries(
    section: type[BaseModel], keys: dict[str, str], *, prefix: str = "", types: dict[str, str] | None = None
) -> Iterator[str]:
    for key, name in keys.items():
        field = section.model_fields[name]
        yield from _entry(field, f"{prefix}{key}", (types or {}).get(key))
        inner = section_of(field)
        if inner is not None:
            yield from _entries(inner, keys_of(inner), prefix=f"{prefix}{key}.")
        entry = entry_of(field)
        if entry is not None:
            yield from _entries(entry, keys_of(entry), prefix=f"{prefix}{key}[].")
        yield from _variants(field, prefix=f"{prefix}{key}.")


def _entry(field: FieldInfo, key: str, type_words: str | None = None, condition: str | None = None) -> Iterator[str]:
    facts = [f"- Only with: {condition}"] if condition else []
    facts.append(f"- Type: {type_words or type_in_words(field)}")
    if field.default is None or not sections_of(field):
        facts.append(f"- Default: {_default(field)}")
    yield f"### `{key}`"
    yield "\n".join(facts)
    yield _text(field)


def _variants(field: FieldInfo, *, prefix: str) -> Iterator[str]:
    """The keys of the sections among which one key chooses: that key first, then those of each."""
    chooser, variants = chooser_of(field), variants_of(field)
    if chooser is None:
        return
    (first, *_) = variants.values()
    yield from _entry(first.model_fields[chooser], f"{prefix}{chooser}", " or ".join(f"`{word}`" for word in variants))
    for word, section in variants.items():
        for key, name in keys_of(section).items():
            if key != chooser:
                yield from _entry(section.model_fields[name], f"{prefix}{key}", condition=f"`{chooser}: {word}`")


def _differences(section: type[BaseModel], base: type[BaseModel], *, prefix: str) -> Iterator[str]:
    """The keys that ``base`` does not have, and those that it describes otherwise."""
    for key, name in keys_of(section).items():
        field, known = section.model_fields[name], base.model_fields.get(name)
        inner, known_inner = section_of(field), None if known is None else section_of(known)
        if known is None:
            yield from _entries(section, {key: name}, prefix=prefix)
        elif inner is not None and known_inner is not None:
            yield from _differences(inner, known_inner, prefix=f"{prefix}{key}.")
        elif key != "kind" and [*_entry(field, key)] != [*_entry(known, key)]:
            yield from _entries(section, {key: name}, prefix=prefix)


def _text(field: FieldInfo) -> str:
    assert field.description is not None, f"{field} has no description"
    return field.description


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "none, it must be given"
    if field.default is None:
        return "absent"
    return f"`{_written(field.default, field.metadata, field.annotation)}`"


def _written(value: Any, metadata: Iterable[Any], annotation: Any) -> str:
    """``value`` as it would stand in the file."""
    if any(isinstance(mark, Duration) for mark in metadata):
        return format_duration(value)
    if any(isinstance(mark, Size) for mark in metadata):
        return format_size(value)
    if value == {}:
        return "{}"
    if value == (EVERYTHING,):
        return f'"{EVERYTHING}"'
    if isinstance(value, tuple):
        entry = get_args(annotation)[0]
        written = [_written(each, getattr(entry, "__metadata__", ()), entry) for each in value]
        return f"[{', '.join(written)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or with ``--check`` say whether it is up to date (exit status 1 where it is not)."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.config.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where the page is out of date")
    parser.add_argument(
        "--output", type=Path, default=PAGE, metavar="FILE", help="where the page is (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    output: Path = options.output
    if options.check:
        if output.is_file() and output.read_text(encoding="utf-8") == page():
            return 0
        sys.stderr.write(f"{output} is out of date; run python -m pipeline.config.reference\n")
        return 1
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
