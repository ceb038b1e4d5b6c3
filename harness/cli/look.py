"""`harness runs` and `harness show`: looking at what happened."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.run import RUNS_OPTION, run_folder
from harness.errors import ConfigError, StoreError


@click.command("runs")
@RUNS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@pass_app
def runs_command(app: App, runs: Path, as_json: bool) -> None:
    """List runs: how far each is, and what stands."""
    from harness.cli.table import table
    from harness.store import RunStore

    found = []
    for folder in sorted(path.parent for path in runs.glob("*/run.json")):
        try:
            store = RunStore.open(folder)
        except StoreError as error:
            app.view.note(f"warning: {error}")
            continue
        stages = store.identity["config"]["stages"]
        found.append(
            {
                "run": folder.name,
                "rounds": max(store.committed(), 0),
                "of": sum(stage["rounds"] for stage in stages),
                "stopped": store.stopped,
                "incumbent": store.incumbent_version(),
                "round": store.incumbent_round(),
                "digest": store.digest(),
            }
        )
    if as_json:
        click.echo(json.dumps(found, indent=1))
    elif not found:
        click.echo(f"No runs in {runs}. Start one: harness loop --suite tool-calls")
    else:
        rows = [
            [
                r["run"],
                f"{r['rounds']}/{r['of']}{' stopped' if r['stopped'] else ''}",
                str(r["round"]),
                r["incumbent"][:12],
                r["digest"][:12],
            ]
            for r in found
        ]
        click.echo(table(["run", "rounds", "incumbent round", "incumbent", "digest"], rows))


@click.command("show")
@click.argument("run")
@RUNS_OPTION
@click.option("--round", "index", type=int, help="One round in detail. Default: all, one row each.")
@click.option("--worst", type=int, metavar="K", help="Print the K lowest-scored completions of the target's items.")
@click.option("--suite", help="With --worst: another suite than the target.")
@click.option("--training", is_flag=True, help="With --worst: completions sampled for training instead.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@pass_app
def show_command(
    app: App,
    run: str,
    runs: Path,
    index: int | None,
    worst: int | None,
    suite: str | None,
    training: bool,
    as_json: bool,
) -> None:
    """Look at a run: its rounds, one round's gate decision, or its worst completions. RUN is a name or a folder."""
    from harness.cli.tables import checks_table, data_table, monitors_table, report_table, run_table, where_things_lie
    from harness.data_step import read_remarks
    from harness.measuring import round_looks, round_report
    from harness.records import read_decision
    from harness.store import RunStore
    from harness.watching import read_watched

    folder = run_folder(run, runs)
    store = RunStore.open(folder)
    if index is not None and (index, "commit") not in store.entries:
        raise ConfigError(
            f"round {index} is not there", where=str(folder), remedy=f"Committed: 0 to {store.committed()}."
        )
    if worst is None and (suite or training):
        raise ConfigError("--suite and --training choose completions", where="show", remedy="Add --worst K.")
    if suite and training:
        raise ConfigError("--training shows what was trained on", where="show", remedy="Leave out --suite.")
    if worst is not None:
        _show_worst(store, store.committed() if index is None else index, worst, suite, training, as_json)
    elif index is None:
        entries = [vars(entry) for _, entry in sorted(store.entries.items())]
        click.echo(json.dumps(entries, indent=1) if as_json else f"{run_table(store)}\n{where_things_lie(store)}")
    else:
        decision = store.load(index, "decision", read_decision) if (index, "decision") in store.entries else None
        report = round_report(store, index) if round_looks(store, index) else None
        monitors = store.load(index, "monitors", read_watched) if (index, "monitors") in store.entries else None
        remarks = store.load(index, "data", read_remarks) if (index, "data") in store.entries else None
        commit = store.entries[index, "commit"]
        if as_json:
            shown = {
                "commit": vars(commit),
                "decision": asdict(decision) if decision else None,
                "report": asdict(report) if report else None,
                "monitors": asdict(monitors) if monitors else None,
                **({"data": {**store.entries[index, "data"].data, "remarks": remarks}} if remarks is not None else {}),
            }
            click.echo(json.dumps(shown, indent=1, ensure_ascii=False))
            return
        click.echo(commit.data["sentence"])
        if remarks is not None:
            click.echo(data_table(store.entries[index, "data"].data, remarks))
        if decision:
            click.echo(checks_table(decision.checks))
        if report:
            click.echo(report_table(report))
        if monitors:
            click.echo(monitors_table(monitors))


def _show_worst(store: object, index: int, count: int, suite: str | None, training: bool, as_json: bool) -> None:
    from harness.likelihood import read_first
    from harness.measuring import round_answers
    from harness.records import read_groups
    from harness.store import RunStore

    assert isinstance(store, RunStore)
    suites = [*store.identity["suites"]]
    name = suite or suites[0]
    if training:
        groups = store.load(index, "judge", read_groups) if store.entry(index, "judge") else []
    else:
        groups = round_answers(store, index, name)
    if not groups:
        held = f"Suites: {', '.join(suites)}; rounds: 0 to {store.committed()}."
        raise ConfigError(f"no completions of {name!r} in round {index}", where=str(store.folder), remedy=held)
    rows = [
        (reward, group.group.prompt, completion, scores)
        for group in groups
        for completion, reward, scores in zip(group.group.completions, group.rewards, group.scores, strict=True)
    ]
    # Unscored first: they are what most needs looking at.
    rows = sorted(rows, key=lambda row: (row[0] is not None, row[0] or 0.0, row[1].id))[:count]
    if as_json:
        shown = [{"score": r[0], "id": r[1].id, "text": r[2].text, "scores": [asdict(s) for s in r[3]]} for r in rows]
        click.echo(json.dumps(shown, indent=1, ensure_ascii=False))
        return
    for reward, prompt, completion, scores in rows:
        verdicts = "; ".join(f"{s.judge} {s.label or s.status}: {s.explanation}".rstrip(": ") for s in scores)
        click.echo(f"{prompt.id}  score {'unscored' if reward is None else f'{reward:.2f}'}  {verdicts}")
        click.echo(f"  asked     {read_first(prompt) or '(nothing: raw text)'}")
        click.echo(f"  answered  {completion.text.strip() or '(nothing)'}")
        if prompt.reference is not None:
            click.echo(f"  expected  {prompt.reference}")
        click.echo()
