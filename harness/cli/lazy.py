"""Groups whose subcommands live in modules of their own, which are imported when one of them is run."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import rich_click as click


class LazyCommand(click.RichCommand):
    """A command's name and summary: all that its group's `--help` and tab completion show of it."""

    def __init__(self, name: str, module: str, summary: str) -> None:
        super().__init__(name=name, help=summary)
        self.module = module

    def load(self) -> click.Command:
        assert self.name is not None
        command: click.Command = getattr(importlib.import_module(self.module), f"{self.name.replace('-', '_')}_command")
        return command


class LazyGroup(click.RichGroup):
    """Lists its subcommands in the order in which they were added, and imports the one that is run."""

    def add_lazily(self, package: str, commands: Mapping[str, tuple[str, str]]) -> None:
        """`commands` holds the module within `package` and the summary by name."""
        for name, (module, summary) in commands.items():
            self.add_command(LazyCommand(name, f"{package}.{module}", summary))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, LazyCommand) else command, rest
