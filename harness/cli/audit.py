"""`harness audit`: a person against the judges."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.run import RUNS_OPTION, run_folder
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.audit_report import AuditReport
    from harness.statistics import Interval


@click.command("audit")
@click.argument("run")
@click.option("--suite", help="Candidate against incumbent on this suite. Default: siblings sampled for training.")
@click.option("--round", "index", type=int, help="Default: the last round that has what is asked for.")
@click.option("--judge", help="Stratify by this judge's verdicts. Default: by the reward.")
@click.option("-n", "--n", "count", type=int, help="How many pairs. Default: 40.")
@click.option("--seed", type=int, help="Of pairs, sides and order. Default: 0.")
@click.option("--name", help="Of the audit. Default: the suite, or training, and the round.")
@click.option("--report", "only_report", is_flag=True, help="Figures of what was answered; asks nothing.")
@click.option("--export", "rows", type=click.Path(path_type=Path), help="Write the pairs as JSONL, blind.")
@click.option("--label-studio", type=click.Path(path_type=Path), help="Write them as Label Studio's tasks (JSON).")
@click.option("--import", "answered", type=click.Path(path_type=Path), help="Take answers: JSONL, or Label Studio's.")
@RUNS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@pass_app
def audit_command(
    app: App,
    run: str,
    suite: str | None,
    index: int | None,
    judge: str | None,
    count: int | None,
    seed: int | None,
    name: str | None,
    only_report: bool,
    rows: Path | None,
    label_studio: Path | None,
    answered: Path | None,
    runs: Path,
    as_json: bool,
) -> None:
    """Choose the better of two answers without knowing what the judges said, and see how far they agree with you.

    Every answer is stored at once; the same command goes on where it was left. RUN is a name or a folder.
    """
    from harness.audit import open_audit
    from harness.audit_answers import LABELLING, Answers, blind_rows, import_answers, label_studio_tasks
    from harness.audit_report import report, summarize
    from harness.cli.audit_screen import ask, require_terminal
    from harness.jsonl import as_jsonl, require_absent, write_new

    if sum(map(bool, (only_report, rows, label_studio, answered))) > 1:
        remedy = "Give one of --report, --export, --label-studio, --import."
        raise ConfigError("it can do one thing at a time", where="harness audit", remedy=remedy)
    elsewhere = only_report or rows or label_studio or answered
    labelling = label_studio and label_studio.with_name(f"{label_studio.stem}.config.xml")
    require_absent(*filter(None, (rows, label_studio, labelling)))
    console = None if elsewhere else require_terminal()
    audit = open_audit(
        run_folder(run, runs),
        name=name,
        round=index,
        suite=suite,
        judge=judge,
        n=count,
        seed=seed,
        must_exist=only_report or answered is not None,
    )
    if rows:
        write_new(rows, as_jsonl(blind_rows(audit)))
        app.view.note(f"{len(audit.pairs)} pairs in {rows}; give each an answer: a, b, tie or skip")
        return
    if label_studio and labelling:
        write_new(labelling, LABELLING)
        write_new(label_studio, json.dumps(label_studio_tasks(audit), indent=1, ensure_ascii=False) + "\n")
        app.view.note(f"{len(audit.pairs)} tasks in {label_studio}, and the project's labelling config in {labelling}")
        return
    if answered:
        taken = import_answers(audit, answered)
        app.view.note(f"{taken.new} new answers" + (f", {taken.known} were there already" if taken.known else ""))
    answers = Answers(audit.answers, audit.pairs)
    done = console is None or ask(audit, answers, console)
    found = report(audit, answers)
    summarize(audit, found)
    if not done:  # without figures, which would be known to whoever goes on
        left = len(audit.pairs) - len(answers.given)
        app.view.note(f"{left} of {len(audit.pairs)} pairs are left; the same command goes on")
        return
    click.echo(json.dumps(asdict(found), indent=1, ensure_ascii=False) if as_json else _tables(found))


def _tables(found: AuditReport) -> str:
    """Agreement a judge; of a suite, the candidate's win rate as judged, and put right."""
    from harness.cli.table import table

    head = f"{found.name}: {found.answered} of {found.pairs} pairs answered, {found.skipped} skipped"
    lines = [f"{head}; they stand for {found.population}"]
    if found.a_share:
        lines.append(f"a was chosen in {_share(found.a_share)} of {found.a_share.n} choices; sides are random")
    agreement = [
        [j.judge, str(j.n), "" if j.agreement is None else f"{j.agreement:.1%}", *_kappa(j.kappa)] for j in found.judges
    ]
    lines.append(table(["judge", "pairs", "agreement", "kappa", "95% interval"], agreement))
    rates = [
        [j.judge, f"{_share(j.judged)} on {j.judged_on}", _share(j.corrected.interval), f"{j.corrected.weight:.2f}"]
        for j in found.judges
        if j.judged and j.corrected
    ]
    if rates and found.human:
        lines.append(f"The candidate beats the incumbent, by you: {_share(found.human)} of {found.human.n} pairs")
        lines.append(table(["judge", "as judged", "put right by you", "weight of the judge"], rates))
    return "\n".join(lines)


def _share(interval: Interval) -> str:
    return f"{interval.estimate:.1%} [{interval.lower:.1%}, {interval.upper:.1%}]"


def _kappa(kappa: Interval | None) -> list[str]:
    return ["", ""] if kappa is None else [f"{kappa.estimate:.2f}", f"[{kappa.lower:.2f}, {kappa.upper:.2f}]"]
