"""`harness completion SHELL`: tab completion."""

from __future__ import annotations

import rich_click as click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print a completion script, e.g. for ~/.bashrc: eval "$(harness completion bash)"."""
    completion = get_completion_class(shell)
    assert completion is not None, shell  # the choice holds only shells that click knows
    root = ctx.find_root().command
    click.echo(completion(root, {}, "harness", "_HARNESS_COMPLETE").source())
