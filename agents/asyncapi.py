"""Writes ``docs/asyncapi.yaml`` from the code; ``python -m agents.asyncapi --check`` only says whether that would change it."""

import sys
from pathlib import Path
from typing import Any

import yaml

from agents.topology import Names
from pipeline.asyncapi.document import Topics, document
from pipeline.config.schema import Settings

PAGE = Path(__file__).parents[1] / "docs" / "asyncapi.yaml"
_HEAD = "# Written by `make docs` from the code: edit that instead.\n"


class _Dumper(yaml.SafeDumper):
    """YAML that repeats what occurs twice, so that each part can be read where it stands."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  yaml's signature
        """Whether ``data`` is written out every time."""
        return True


def page() -> str:
    """The document as it should be."""
    names, source = Names("{app}"), Settings.model_fields["topic"].default
    topics = Topics(source, names.attempts, names.parked, names.dead_letters, names.notices)
    # The dumper is a safe one.
    return _HEAD + yaml.dump(document(topics), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def main(arguments: list[str]) -> int:
    """Run the command; gives its exit status."""
    made = page()
    is_current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made
    if arguments == ["--check"]:
        if not is_current:
            sys.stderr.write("docs/asyncapi.yaml is older than the code that it is made from: run `make docs`\n")
        return 0 if is_current else 1
    if arguments:
        sys.stderr.write("usage: python -m agents.asyncapi [--check]\n")
        return 2
    if not is_current:
        PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
