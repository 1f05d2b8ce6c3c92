"""The ``distributary`` command line: Faust's own, with the app already chosen, and the project's commands."""

from agents.commands.group import cli

__all__ = ["cli"]
