"""Tables of runs and reports, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.cli.table import table
from harness.comparison import Comparison
from harness.measuring import round_report
from harness.monitors import MonitorReport
from harness.records import read_decision
from harness.store import RunStore
from harness.summary import Change, Figures, estimate_cells, summarize
from harness.types import Check, EvalReport

TEXT_ROWS = (
    ("tokens", "mean tokens", "{:.1f}"),
    ("distinct_1", "distinct-1", "{:.3f}"),
    ("distinct_2", "distinct-2", "{:.3f}"),
    ("repeated_4", "repeated 4-grams", "{:.1%}"),
    ("refused", "refused", "{:.1%}"),
    ("empty", "empty", "{:.1%}"),
    ("truncated", "truncated", "{:.1%}"),
)
STEPS = {"sample": ("sample",), "judge": ("judge",), "update": ("update",), "eval": ("evaluate", "extend", "confirm")}


def run_table(store: RunStore) -> str:
    """A row a round: reward, each suite's score and change with its bounds, decision, seconds a step."""
    identity = store.identity
    names = [*identity["suites"]]
    rounds = [index for index, step in sorted(store.entries) if step == "commit"]
    rows = [_round_row(store, index, names) for index in rounds]
    columns = ["round", "update", "reward", *names, "outcome", f"seconds: {'/'.join(STEPS)}"]
    return table(columns, rows, title=f"{store.folder.name}: {len(rounds) - 1} rounds")


def _seconds(store: RunStore, index: int, *steps: str) -> str:
    taken = [entry.seconds for step in steps if (entry := store.entry(index, step)) is not None]
    return f"{sum(taken):.0f}" if taken else "-"


def _round_row(store: RunStore, index: int, names: Sequence[str]) -> list[str]:
    entries = {step: store.entry(index, step) for step in ("judge", "evaluate")}
    commit = store.entry(index, "commit")
    assert commit is not None
    judged, decided = entries["judge"], store.entry(index, "decision")
    reward = judged.data.get("reward/mean") if judged else None
    checks = store.load(index, "decision", read_decision).checks if decided else ()
    report = round_report(store, index) if entries["evaluate"] else None
    means = {n: found.mean if report and (found := report.suite(n)) else None for n in names}
    return [
        str(index),
        _stage_name(store, index),
        "" if reward is None else f"{reward:.3f}",
        *(score_cell(means[name], checks_of(name, checks)) for name in names),
        "start" if index == 0 else str(commit.data["outcome"]),
        " / ".join(_seconds(store, index, *STEPS[step]) for step in STEPS),
    ]


def _stage_name(store: RunStore, index: int) -> str:
    for stage in store.identity["config"]["stages"] if index else ():
        if index <= stage["rounds"]:
            return str(stage["updater"])
        index -= stage["rounds"]
    return ""


def checks_of(suite: str, checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if check.name.split(" vs ")[0].endswith(f" {suite}")]


def score_cell(mean: float | None, checks: Sequence[Check]) -> str:
    if mean is None:
        return "-"
    change = next((c for c in checks if c.name.endswith("vs incumbent")), None)
    if change is None or change.estimate is None or change.lower is None or change.upper is None:
        return f"{mean:.1%}"
    return f"{mean:.1%}  {100 * change.estimate:+.1f} [{100 * change.lower:+.1f}, {100 * change.upper:+.1f}]"


def comparison_table(comparison: Comparison) -> str:
    """The incumbent, then a row a candidate: each suite's score and change with its bounds, and the gate's outcome."""
    names = [suite.suite for suite in comparison.incumbent.suites]
    means = {suite.suite: suite.mean for suite in comparison.incumbent.suites}
    standing = f"incumbent (round {comparison.incumbent_round})"
    rows = [[standing, "", *(score_cell(means[name], []) for name in names), "stands"]]
    for candidate in comparison.candidates:
        means = {suite.suite: suite.mean for suite in candidate.report.suites}
        cells = [score_cell(means[name], checks_of(name, candidate.decision.checks)) for name in names]
        trained = f"{candidate.updater} {candidate.objective}".strip()
        rows.append([candidate.name, trained or "not known", *cells, candidate.decision.outcome])
    title = f"{comparison.run.name}: candidates against what round {comparison.round} was sampled from"
    return table(["candidate", "trained with", *names, "outcome"], rows, title=title)


def where_things_lie(store: RunStore) -> str:
    index = store.incumbent_round()
    adapter = store.round_folder(index) / "adapter" if index else None
    sentences = [e.data["sentence"] for (_, step), e in sorted(store.entries.items()) if step == "confirmation"]
    lines = [
        *sentences,
        f"incumbent  round {index}, {store.incumbent_version()[:12]}",
        f"adapter    {adapter or 'none: the base model stands'}",
        f"run        {store.folder}  (digest {store.digest()[:12]})",
        f"look       harness show {store.folder} --worst 5",
    ]
    return "\n".join(lines)


def report_table(report: EvalReport) -> str:
    """A row a suite with its 95% interval and clustered standard error, then a row a slice where it has several."""
    rows = []
    for suite in report.suites:
        summary = summarize(suite)
        rows.append(_figures_row(summary.whole, suite.role))
        rows += [_figures_row(replace(part, name=f"  {part.name}"), suite.role) for part in summary.slices]
    return table(["suite", "role", "items", "clusters", "score", "95% interval", "SE", "outcomes"], rows)


def _figures_row(figures: Figures, role: str) -> list[str]:
    return [
        figures.name,
        role,
        f"{figures.items}" + (f" ({figures.unscored} unscored)" if figures.unscored else ""),
        str(figures.clusters),
        *estimate_cells(figures.score),
        ", ".join(f"{label} {count}" for label, count in figures.labels[:5]),
    ]


def change_rows(changes: Mapping[str, Change | None]) -> list[list[str]]:
    """A row a suite: items, both means, their difference in points with its 95% interval, items won and lost."""
    rows = []
    for name, change in changes.items():
        if change is None:
            rows.append([name, "0", *[""] * 6])
            continue
        i = change.difference
        rows.append(
            [
                name,
                str(change.items),
                f"{change.before:.1%}",
                f"{change.after:.1%}",
                f"{100 * i.estimate:+.1f}",
                f"[{100 * i.lower:+.1f}, {100 * i.upper:+.1f}]",
                str(change.won),
                str(change.lost),
            ]
        )
    return rows


def data_table(figures: Mapping[str, float], remarks: Sequence[Mapping[str, Any]]) -> str:
    """What a round's filters said: a row a filter, reason and outcome, with its groups and the first detail."""
    found: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for remark in remarks:
        found.setdefault((remark["filter"], remark["reason"], remark["outcome"]), []).append(remark)
    rows = [
        [*key, str(len({one["group"] for one in said})), f"{said[0]['where']} {said[0]['detail']}".strip()]
        for key, said in sorted(found.items())
    ]
    title = f"data: {figures['data/kept']:.0f} groups trained on, {figures['data/dropped']:.0f} dropped"
    return table(["filter", "reason", "outcome", "groups", "the first"], rows, title=title)


def passing_table(report: EvalReport, *, threshold: float = 1.0) -> str:
    """A row a suite and k: how often one of k answers is right, and how often all. Empty with one answer an item."""
    rows = [
        [suite.suite, str(row.k), *estimate_cells(row.at_least_one), *estimate_cells(row.all_of_them)]
        for suite in report.suites
        for row in summarize(suite, threshold=threshold).passing
        if len(suite.items[0].epochs) > 1
    ]
    columns = ["suite", "k", "pass@k", "95% interval", "SE", "pass^k", "95% interval", "SE"]
    return table(columns, rows) if rows else ""


def checks_table(checks: Sequence[Check]) -> str:
    rows = [
        [
            check.name,
            "holds" if check.passed else ("refuted" if check.refuted else "not shown"),
            *(("" if value is None else f"{100 * value:+.2f}") for value in (check.estimate, check.lower, check.upper)),
            "" if check.threshold is None else f"{100 * check.threshold:+.2f}",
            check.note,
        ]
        for check in checks
    ]
    return table(["condition", "verdict", "estimate", "lower", "upper", "must exceed", "note"], rows)


def monitors_table(report: MonitorReport) -> str:
    """A row a monitor: the candidate's figure beside the incumbent's, or a difference with its bounds."""
    rows = []
    for name, label, form in TEXT_ROWS:
        values = [getattr(arm, name) for arm in (report.candidate, report.incumbent)]
        rows.append([label, *("" if value is None else form.format(value) for value in values), ""])
    if report.length_ratio is not None:
        rows.append(["length ratio", f"{report.length_ratio:.2f}", "", ""])
    if report.kl_per_token is not None:
        rows.append(["KL to the anchor", f"{report.kl_per_token:.3f}", "", "nats a token"])
    if report.gap is not None:
        shown = {"training judges' gain": report.gap.train, "gold's gain": report.gap.gold, "gap": report.gap.gap}
        for name, i in shown.items():
            rows.append([name, f"{100 * i.estimate:+.1f}", "", f"[{100 * i.lower:+.1f}, {100 * i.upper:+.1f}] points"])
    for name, i in report.win_rates.items():
        rows.append([f"win rate, {name}", f"{i.estimate:.1%}", "", f"[{i.lower:.1%}, {i.upper:.1%}]"])
    if report.canaries is not None:
        kinds = ", ".join(f"{kind} {won}" for kind, won in report.canaries.won_by_kind.items() if won)
        rows.append(["canaries that win", f"{report.canaries.won} of {report.canaries.judged}", "", kinds])
    rows += [["verdicts that drifted", f"{share:.1%}", "", judge] for judge, share in report.drift.items()]
    return table(["monitor", "candidate", "incumbent", ""], rows)
