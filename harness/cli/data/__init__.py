"""`harness data`: its verbs live in modules of their own, imported when one is asked for."""

from __future__ import annotations

import importlib
from typing import ClassVar

import rich_click as click


class DataGroup(click.RichGroup):
    modules: ClassVar[tuple[str, ...]] = (
        "check",
        "clean",
        "stats",
        "split",
        "pairs",
        "negatives",
        "adversarial",
        "mix",
        "export",
    )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.modules:
            return None
        module = importlib.import_module(f"harness.cli.data.{name}")
        command: click.Command = getattr(module, f"{name}_command")
        return command


@click.group("data", cls=DataGroup, invoke_without_command=True)
@click.pass_context
def data_command(ctx: click.Context) -> None:
    """Look at training data, clean it, split it, mix it, and write it as others read it."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
