"""Writes ``docs/metrics.md`` from the catalogue; ``--check`` only says whether that would change it."""

import sys
from pathlib import Path

from pipeline.generated import write_or_check
from pipeline.metrics.page import metrics_page

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def main(arguments: list[str]) -> int:
    """Run the command; gives its exit status."""
    return write_or_check(
        arguments, PAGE, metrics_page(), module="pipeline.metrics", made_from="the catalogue of metrics"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
