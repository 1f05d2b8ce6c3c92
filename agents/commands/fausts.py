"""Faust's own commands and options, told in this project's words."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import click
from faust.cli.faust import cli as faust_cli

from agents import data_directory
from agents.settings import current

HELP = {
    "agents": "List the stages.",
    "tables": "List the tables.",
    "reset": "Delete this machine's tables from the data directory.\n\nThe next start reads them again from Kafka. A worker "
    "that uses the directory must be stopped before.",
}


def options(command: click.Command, words: Mapping[str, str]) -> list[click.Parameter]:
    """The command's options, those named in ``words`` with that help."""
    return [_reworded(option, words[option.name]) if option.name in words else option for option in command.params]


def _reworded(option: click.Parameter, words: str) -> click.Parameter:
    own: Any = copy.copy(option)
    own.help, own.show_default = words, False
    return own


def commands() -> list[click.Command]:
    """Those of Faust's commands that are good for something here."""
    found = []
    for name, words in HELP.items():
        command = copy.copy(faust_cli.commands[name])
        command.help, command.short_help = words, words.partition("\n")[0]
        if name == "reset":
            command.callback = _on_its_own_tables(command.callback)
        found.append(command)
    return found


def _on_its_own_tables(callback: Callable[..., Any]) -> Callable[..., Any]:
    """The same where the data directory holds the app's tables and no worker uses it; a refusal everywhere else."""

    def run(*arguments: Any, **options: Any) -> Any:
        folder = data_directory.chosen()
        data_directory.take(folder, advice="stop it first")
        data_directory.check(folder, data_directory.Owner(current().app, cluster=None))
        return callback(*arguments, **options)

    return run
