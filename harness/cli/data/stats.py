"""`harness data stats`: what training data is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.data.options import LAYOUT_OPTION
from harness.cli.run import RUNS_OPTION

if TYPE_CHECKING:
    from harness.data.stats import Stats


@click.command("stats")
@click.argument("source", metavar="FILE|RUN")
@click.option("--tokenizer", "model", metavar="MODEL", help="Count tokens too: an asset, a folder, or a model-hub id.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample whose languages are told.")
@LAYOUT_OPTION
@RUNS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@pass_app
def stats_command(app: App, source: str, model: str | None, seed: int, layout: str, runs: Path, as_json: bool) -> None:
    """Count rows, kinds, lengths, languages, tools, duplicates, and which way pairs and rewards lean."""
    from harness import assets
    from harness.chat import load_tokenizer
    from harness.data.reading import open_source
    from harness.data.stats import Tally

    tokenizer = load_tokenizer(assets.model(model, app.view).path) if model else None
    tally = Tally(tokenizer=tokenizer, seed=seed)
    data = open_source(source, layout=layout, runs=runs)
    for item in app.view.track(map(data.parse, data.raw()), description="stats"):
        tally.add(item)
    found = tally.stats()
    if as_json:
        said = {"source": source, "kind": data.kind, "layout": data.layout, **asdict(found)}
        click.echo(json.dumps(said, indent=1, ensure_ascii=False))
    else:
        click.echo(f"{source}: {data.kind}, rows of layout {data.layout}\n{_text(found)}")


def _text(found: Stats) -> str:
    lines = [f"{found.rows} rows: {_counts(found.kinds)}"]
    if found.bad:
        lines.append(f"{sum(found.bad.values())} cannot be read: {_counts(found.bad)}")
    lines += [f"roles: {_counts(found.roles)}", _spreads(found)] if found.lengths else []
    if found.unrendered:
        lines.append(f"the chat template refuses {found.unrendered} prompts")
    lines += [f"languages of {side}s: {_counts(counts)}" for side, counts in found.languages.items()]
    if found.tools:
        lines.append(f"with tools: {found.tools}, of {found.distinct_tools} names")
    if found.labels:
        lines.append(f"labels: {_counts(found.labels)}")
    if found.duplicates is not None:
        lines.append(f"there before, word for word: {found.duplicates:.1%} of records")
    if found.repeated_prompts is not None:
        lines.append(f"asked before, word for word: {found.repeated_prompts:.1%} of prompts")
    if found.pairs:
        longer = found.pairs.chosen_longer
        lines.append(
            f"pairs: the chosen is longer in {longer.estimate:.1%} [{longer.lower:.1%}, {longer.upper:.1%}] of "
            f"{longer.n}; both are the same in {found.pairs.equal}"
        )
    if groups := found.groups:
        reward = "unknown" if groups.reward is None else f"{groups.reward:.3f}"
        lines.append(
            f"groups: {groups.groups} of {groups.answers.mean:.1f} answers, mean reward {reward}, "
            f"{groups.signal:.1%} with signal, {groups.unscored} answers unscored"
        )
    if len(found.sources) > 1:
        lines.append(f"sources: {_counts(found.sources)}")
    if found.clusters:
        lines.append(f"clusters: {_counts(found.clusters)}")
    return "\n".join(lines)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _spreads(found: Stats) -> str:
    from harness.cli.table import table
    from harness.data.tallies import LEVELS

    spreads = {**({"prompt/messages": found.turns} if found.turns else {}), **found.lengths}
    rows = [
        [name, str(s.n), f"{s.mean:.1f}", *(f"{value:g}" for value in s.quantiles), str(s.largest)]
        for name, s in spreads.items()
    ]
    return table(["length", "n", "mean", *(f"{level:.0%}" for level in LEVELS), "largest"], rows)
