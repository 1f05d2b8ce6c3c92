"""Writes ``docs/metrics.md`` from the catalogue; ``--check`` only says whether that would change it."""

import sys
from pathlib import Path

from pipeline.metrics.page import metrics_page

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def main(arguments: list[str]) -> int:
    """Run the command; gives its exit status."""
    page = metrics_page()
    is_current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page
    if arguments == ["--check"]:
        if not is_current:
            sys.stderr.write("docs/metrics.md is older than the catalogue of metrics: run `make docs`\n")
        return 0 if is_current else 1
    if arguments:
        sys.stderr.write("usage: python -m pipeline.metrics [--check]\n")
        return 2
    if not is_current:
        PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
