"""Ids for what people have only given a name."""

import re
import unicodedata
from collections.abc import Container
from typing import Final

LONGEST_ID: Final = 64

_NOT_OF_ID: Final = re.compile(r"[^a-z0-9]+")


def id_for(name: str, taken: Container[str], *, otherwise: str = "webhook") -> str:
    """An id made of the letters and digits of ``name``, or of ``otherwise`` where it has none; numbered where it is ``taken``.

    ``Été: new orders`` becomes ``ete-new-orders``.
    """
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = _NOT_OF_ID.sub("-", letters)[:LONGEST_ID].strip("-") or otherwise
    found, number = stem, 1
    while found in taken:
        number += 1
        suffix = f"-{number}"
        found = stem[: LONGEST_ID - len(suffix)].rstrip("-") + suffix
    return found
