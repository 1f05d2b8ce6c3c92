"""DuckDB's errors in the words that the asker sees: its own, with the line and the place in the query."""

import json
from typing import Final

_LONGEST_SHOWN: Final = 120
_ADVICE: Final = "\n\nPossible solutions:"
_OWN_ADVICE: Final = "; ask for fewer rows or columns, or group earlier"


def in_words(error: Exception, query: str = "", before: int = 0) -> str:
    """What is wrong with ``query``, and where; ``before`` bytes stood before it in what DuckDB was given."""
    text = str(error)
    kind, _, details = text.partition(": ")
    if isinstance(error, MemoryError):
        return f"Out of Memory Error: the query needs more memory than one may have{_OWN_ADVICE}"
    if isinstance(error, OSError):
        return f"the result cannot be written: {error.strerror or error}"
    try:
        told = json.loads(details)
        message = str(told["exception_message"])
    except (ValueError, KeyError, TypeError):
        return text
    if _ADVICE in message:  # on settings, which nobody can change here
        message = message.partition(_ADVICE)[0] + _OWN_ADVICE
    position = str(told.get("position", ""))
    place = _place(query, int(position) - before) if position.isdigit() else ""
    return f"{kind}: {message}{place}"


def _place(query: str, at_byte: int) -> str:
    raw = query.encode(errors="surrogatepass")
    if not 0 <= at_byte < len(raw):
        return ""
    until = raw[:at_byte].decode(errors="replace")
    number, column = until.count("\n") + 1, len(until) - (until.rfind("\n") + 1)
    line = query.split("\n")[number - 1]
    first = max(0, column - _LONGEST_SHOWN // 2)
    shown = line[first : first + _LONGEST_SHOWN].replace("\t", " ")
    return f"\n\nline {number}, column {column + 1}:\n{shown}\n{' ' * (column - first)}^"
