"""Writes ``docs/asyncapi.yaml`` from the code; ``python -m agents.asyncapi --check`` only says whether that would change it."""

import sys
from pathlib import Path
from typing import Any

import yaml

from agents.topology import Names
from pipeline.asyncapi.document import Topics, document
from pipeline.config.schema import Settings
from pipeline.generated import write_or_check

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
    topics = Topics(
        source, names.attempts, names.parked, names.dead_letters, names.notices, names.inbound_requests, names.inbound
    )
    # The dumper is a safe one.
    return _HEAD + yaml.dump(document(topics), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def main(arguments: list[str]) -> int:
    """Run the command; gives its exit status."""
    return write_or_check(arguments, PAGE, page(), module="agents.asyncapi", made_from="the code that it is made from")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
