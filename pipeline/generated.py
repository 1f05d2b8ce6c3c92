"""The command of a page that is written from the code: it writes the page, or says whether that would change it."""

import sys
from collections.abc import Sequence
from pathlib import Path


def write_or_check(arguments: Sequence[str], page: Path, content: str, *, module: str, made_from: str) -> int:
    """Bring ``page`` up to ``content``, or only look where ``arguments`` is ``--check``; gives the exit status.

    ``module`` is what was run, and ``made_from`` what the page is made from, for the words to the user.
    """
    is_current = page.is_file() and page.read_text(encoding="utf-8") == content
    if list(arguments) == ["--check"]:
        if not is_current:
            sys.stderr.write(f"docs/{page.name} is older than {made_from}: run `make docs`\n")
        return 0 if is_current else 1
    if arguments:
        sys.stderr.write(f"usage: python -m {module} [--check]\n")
        return 2
    if not is_current:
        page.write_text(content, encoding="utf-8")
    return 0
