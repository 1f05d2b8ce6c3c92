"""Who looks at the view, and what they may do."""

import enum
from typing import NamedTuple


class Role(enum.StrEnum):
    """What somebody may do; each role may do all that the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Whether this role may do what ``other`` may."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


class Person(NamedTuple):
    """Somebody who is signed in, or who needs not be; ``name`` is what the audit log shows."""

    name: str
    role: Role


ANYBODY = Person("local", Role.ADMIN)
"""Whoever reaches a view that is bound to loopback and has neither tokens nor a proxy."""
