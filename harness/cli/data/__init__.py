"""`harness data`: its verbs live in modules of their own, imported when one is run."""

from __future__ import annotations

import rich_click as click

from harness.cli.lazy import LazyGroup

COMMANDS = {
    "check": (
        "check",
        "Say what is wrong with training data. SOURCE is a file, a `datasets` directory, or a run; nothing is written.",
    ),
    "clean": (
        "clean",
        "Write what filters leave of training data to a new file. SOURCE is a file or a `datasets` directory.",
    ),
    "stats": (
        "stats",
        "Count rows, kinds, lengths, languages, tools, duplicates, and which way pairs and rewards lean.",
    ),
    "split": (
        "split",
        "Split FILE into train, valid and test by clusters of prompts, so that no prompt is on two sides.",
    ),
    "pairs": (
        "pairs",
        "Build preference data from the scored groups of a RUN or of a groups.parquet, or from labelled answers.",
    ),
    "negatives": (
        "negatives",
        "Make wrong tool calls from right ones: those in FILE, or the references of SUITE's training prompts.",
    ),
    "adversarial": (
        "adversarial",
        "Make harder variants of FILE's rows, or of SUITE's training prompts, whose right answer is known.",
    ),
    "mix": ("mix", "Mix FILEs by weight, in a shuffled order, with where each row is from in its column `origin`."),
    "export": ("export", "Write training data in a format that others train on."),
}


@click.group("data", cls=LazyGroup, invoke_without_command=True)
@click.pass_context
def data_command(ctx: click.Context) -> None:
    """Look at training data, clean it, split it, mix it, and write it as others read it."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


data_command.add_lazily("harness.cli.data", COMMANDS)
