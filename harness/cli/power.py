"""`harness power`: what an evaluation of this size can show, before it is paid for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.run import EVALS_OPTION, RUNS_OPTION
from harness.errors import EXIT_OK, ConfigError
from harness.evaluations import Evaluation
from harness.power import (
    DISCORDANT,
    GRID_EPOCHS,
    GRID_ITEMS,
    NOISE,
    Design,
    Seen,
    gain_found,
    margin_shown,
    power,
    seen_between,
    seen_within,
    smallest_margin,
    strictest_margin,
)

CHANCES = (0.8, 0.9)


@dataclass(frozen=True)
class Planned:
    """A suite as it would be evaluated, and the words for where its assumptions come from."""

    name: str
    design: Design
    margin: float
    sources: tuple[str, ...]


@click.command("power")
@click.argument("suites", nargs=-1, metavar="[SUITE...]")
@click.option("--evaluation", "names", multiple=True, help="Take the flips from one or two stored evaluations.")
@click.option("--n", type=click.IntRange(2), help="Items. Default: the suite's own.")
@click.option("--epochs", type=click.IntRange(1), default=1, show_default=True, help="Completions an item.")
@click.option("--margin", type=click.FloatRange(0, 1, min_open=True), help="Default: the suite's own.")
@click.option("--gain", type=click.FloatRange(0, 1, min_open=True), help="Also the chance that this true gain passes.")
@click.option("--alpha", type=click.FloatRange(0, 0.5, min_open=True, max_open=True), default=0.05, show_default=True)
@click.option("--min-gain", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="The gate's.")
@click.option(
    "--discordant", type=click.FloatRange(0, 1), help=f"Share of verdicts that flip.  [default: {DISCORDANT}]"
)
@click.option("--noise", type=click.FloatRange(0, 1), help=f"Share of that which is luck.  [default: {NOISE}]")
@click.option("--icc", type=click.FloatRange(0, 1), help="Correlation within clusters.  [default: 0]")
@EVALS_OPTION
@RUNS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@pass_app
def power_command(
    app: App,
    suites: Sequence[str],
    names: Sequence[str],
    n: int | None,
    epochs: int,
    margin: float | None,
    gain: float | None,
    alpha: float,
    min_gain: float,
    discordant: float | None,
    noise: float | None,
    icc: float | None,
    evals: Path,
    runs: Path,
    as_json: bool,
) -> int:
    """What margins and gains can be shown with SUITE's items, or with --n of them, by the gate's own estimator.

    A loop keeps a share of the target's items back (gate.confirm) and may look twice (gate.looks): see --n and --alpha.
    """
    from harness.evaluations import find_evaluation

    if not suites and n is None:
        raise ConfigError("no suite is named", where="power", remedy="Name one, or say how many items with --n.")
    if len(names) > 2:
        raise ConfigError("more than two evaluations", where="--evaluation", remedy="Give one or two.")
    stored = [find_evaluation(name, evals=evals, runs=runs) for name in names]
    if stored and not suites:
        raise ConfigError("no suite is named", where="--evaluation", remedy="Name the suite that it is of.")
    given = {"discordant": discordant, "noise": noise, "icc": icc}
    plans = [_plan(app, suite, stored, n, epochs, alpha, margin, given) for suite in suites or ("",)]
    if as_json:
        click.echo(json.dumps([_record(plan, gain, min_gain) for plan in plans], indent=1))
    else:
        for plan in plans:
            click.echo("\n".join([*_sentences(plan, gain, min_gain), grid_table(plan.design, min_gain), ""]))
    return EXIT_OK


# ---------------------------------------------------------------- what is planned


def _plan(
    app: App,
    name: str,
    stored: Sequence[Evaluation],
    n: int | None,
    epochs: int,
    alpha: float,
    margin: float | None,
    given: dict[str, float | None],
) -> Planned:
    """The suite's items and clusters, with what is known of the flips: as given, else as seen, else as assumed."""
    if name:
        shown, clusters, own = _suite(app, name)
    else:
        assert n is not None
        shown, clusters, own = f"{n} items", [str(i) for i in range(n)], 0.05
    base = Design.of(clusters, epochs=epochs, alpha=alpha)
    seen = _seen(stored, shown)
    values: dict[str, float] = {}
    sources = []
    for key, default in (("discordant", DISCORDANT), ("noise", NOISE), ("icc", 0.0)):
        told, found = given[key], getattr(seen, key) if seen else None
        value = told if told is not None else found if found is not None else default
        values[key] = value
        sources.append("given" if told is not None else "seen" if found is not None else "assumed")
    design = replace(base if n is None else base.resized(n, epochs), **values)  # type: ignore[arg-type]
    return Planned(shown, design, own if margin is None else margin, tuple(sources))


def _suite(app: App, name: str) -> tuple[str, list[str], float]:
    """Its name, the cluster of each item, and its margin."""
    from harness.api import find_suite
    from harness.protocols import RunContext

    suite = find_suite(name, app.registry, RunContext(progress=app.view, components=app.registry))
    if len(suite.items) < 2:
        raise ConfigError(f"it has {len(suite.items)} items", where=f"suite {name}", remedy="Say --n.")
    return suite.name, [item.cluster or item.id for item in suite.items], strictest_margin(suite)


def _seen(stored: Sequence[Evaluation], suite: str) -> Seen | None:
    from harness.head_to_head import comparable, compare_two

    if not stored:
        return None
    [reports] = comparable(stored, suites=[suite])
    if len(reports) == 2:
        compare_two(*reports)  # refuses two that have no scored item in common
        return seen_between(*reports)
    found = seen_within(reports[0])
    if found is None:
        raise ConfigError(
            f"one evaluation with one completion an item says nothing of how often verdicts on {suite} flip",
            where="--evaluation",
            remedy="Give a second evaluation, or one with --epochs 2, or say --discordant.",
        )
    return found


# ---------------------------------------------------------------- what can be shown


def _record(plan: Planned, gain: float | None, min_gain: float) -> dict[str, Any]:
    design = plan.design
    record = {
        "suite": plan.name,
        "design": asdict(design),
        "sources": dict(zip(("discordant", "noise", "icc"), plan.sources, strict=True)),
        "margin": plan.margin,
        "smallest_margin": smallest_margin(design.n, design.clusters, design.alpha),
        "margin_power": power(design, above=-plan.margin),
        "margin_shown": {str(chance): margin_shown(design, chance) for chance in CHANCES},
        "gain_found": {str(chance): gain_found(design, chance, least=min_gain) for chance in CHANCES},
        "grid": [_cell(design.resized(n, k), min_gain) for n in GRID_ITEMS for k in GRID_EPOCHS],
    }
    return record if gain is None else {**record, "gain": gain, "gain_power": power(design, gain=gain, least=min_gain)}


def _cell(design: Design, min_gain: float) -> dict[str, Any]:
    return {
        "n": design.n,
        "epochs": design.epochs,
        "smallest_margin": smallest_margin(design.n, design.clusters, design.alpha),
        "margin_shown": {str(chance): margin_shown(design, chance) for chance in CHANCES},
        "gain_found": gain_found(design, 0.8, least=min_gain),
    }


def _sentences(plan: Planned, gain: float | None, min_gain: float) -> list[str]:
    d = plan.design
    least = smallest_margin(d.n, d.clusters, d.alpha)
    chance = power(d, above=-plan.margin)
    found = gain_found(d, 0.8, least=min_gain)
    words = dict(zip(("discordant", "noise", "icc"), plan.sources, strict=True))
    lines = [
        f"{plan.name}: {d.n} items in {d.clusters} clusters, epochs: {d.epochs}, level {d.alpha:g}.",
        f"If {d.discordant:.1%} of verdicts flip ({words['discordant']}), {d.noise:.0%} of that by luck "
        f"({words['noise']}), with a correlation of {d.icc:.2f} within clusters ({words['icc']}):",
        f"  No margin up to {_points(least)} can be shown at all.",
        f"  A policy that is no worse is shown to keep the margin of {_points(plan.margin)} in {chance:.0%} of cases; "
        + ", ".join(f"{_points(margin_shown(d, c))} in {c:.0%}" for c in CHANCES)
        + ".",
        "  No gain is found in 80% of cases."
        if found is None
        else f"  A true gain of {_points(found)} is found in 80% of cases.",
    ]
    if gain is not None:
        lines.append(
            f"  A true gain of {_points(gain)} is found in {power(d, gain=gain, least=min_gain):.0%} of cases."
        )
    if least >= plan.margin:
        lines.append(
            f"  So no candidate can pass the margin of {_points(plan.margin)}: take more items, or a wider one."
        )
    return lines


def grid_table(design: Design, min_gain: float) -> str:
    """The margin and the gain that 80% of evaluations show, by items and epochs, with the suite's clusters."""
    from harness.cli.table import table

    rows = []
    for n in GRID_ITEMS:
        cells = [_cell(design.resized(n, k), min_gain) for k in GRID_EPOCHS]
        shown = [f"{100 * c['margin_shown']['0.8']:.1f} / {_gain(c['gain_found'])}" for c in cells]
        rows.append([str(n), f"{100 * cells[0]['smallest_margin']:.1f}", *shown])
    columns = ["items", "least margin", *(f"{k} epoch{'s' if k > 1 else ''}" for k in GRID_EPOCHS)]
    return table(columns, rows, title="points: margin shown / gain found, in 80% of cases")


def _gain(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.1f}"


def _points(value: float) -> str:
    return f"{100 * value:.1f} points"
