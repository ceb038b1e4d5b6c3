"""`harness compare A B [C...]`: what stored evaluations say of one another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import rich_click as click

from harness import head_to_head
from harness.bradley_terry import PRIOR, Ranking
from harness.cli.app import App
from harness.cli.table import table
from harness.errors import EXIT_OK, ConfigError
from harness.evaluations import Evaluation, find_evaluation
from harness.head_to_head import Difference, Example, SuiteComparison
from harness.types import SuiteReport
from harness.win_rate import Bounds, WinRate

SHOWN = 300
"""Characters of an answer."""


@dataclass(frozen=True)
class Question:
    """What was asked for beside the names. `alpha` is the one-sided level of a bound."""

    suites: tuple[str, ...]
    alpha: float | None
    examples: int | None
    judge: str | None
    sets: tuple[str, ...]
    common: bool

    @property
    def level(self) -> float:
        return head_to_head.ALPHA if self.alpha is None else self.alpha


def compare_evaluations(
    app: App, names: Sequence[str], question: Question, *, evals: Path, runs: Path, as_json: bool
) -> int:
    """Prints the comparison; raises ConfigError before anything is judged."""
    _check(names, question)
    evaluations = [find_evaluation(name, evals=evals, runs=runs) for name in names]
    suites = head_to_head.comparable(evaluations, suites=question.suites, common=question.common)
    left_out = {} if question.suites else head_to_head.only_in_some(evaluations)
    two = len(evaluations) == 2
    found = [(_two if two else _many)(app, evaluations, reports, question) for reports in suites]
    if as_json:
        shown = {
            "evaluations": [{"name": e.name, "policy_version": e.report.policy_version} for e in evaluations],
            "alpha": question.level,
            "suites": [record for record, _ in found],
            "left_out": left_out,
        }
        click.echo(json.dumps(shown, indent=1, ensure_ascii=False))
        return EXIT_OK
    click.echo("\n".join(text for _, text in found))
    for suite, held in left_out.items():
        click.echo(f"Left out: suite {suite}, which only {', '.join(held)} has.")
    if question.common:
        click.echo("Only the items that all have are compared, and what else was not measured alike is not put right.")
    return EXIT_OK


def _check(names: Sequence[str], question: Question) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{twice} is named twice", where="compare", remedy="Name each evaluation once.")
    if not 0 < question.level < 0.5:
        raise ConfigError(
            f"{question.level} is no one-sided level", where="--alpha", remedy="Give one between 0 and 0.5."
        )
    if len(names) > 2 and (question.judge or question.examples):
        raise ConfigError("--judge and --examples are of two evaluations", where="compare", remedy="Name two.")
    if question.sets and not question.judge:
        raise ConfigError("--set is a setting of a judge", where="compare", remedy="Add --judge NAME.")
    if question.judge and question.common:
        raise ConfigError(
            "--judge needs evaluations that were measured alike", where="--common", remedy="Leave one of them out."
        )


# ---------------------------------------------------------------- two


def _two(
    app: App, evaluations: Sequence[Evaluation], reports: Sequence[SuiteReport], question: Question
) -> tuple[dict[str, Any], str]:
    before, after = reports
    first, second = (evaluation.name for evaluation in evaluations)
    found = head_to_head.compare_two(before, after, alpha=question.level)
    record: dict[str, Any] = {"suite": before.suite, **asdict(found)}
    said = head_to_head.sentence(found, first, second, alpha=question.level)
    lines = [said, difference_table(found, first, second, question.level)]
    record["sentence"] = said
    if question.examples or question.judge:
        one, other = (evaluation.groups(before.suite) for evaluation in evaluations)
        if question.examples:
            won, lost = head_to_head.examples(before, after, (one, other), question.examples)
            record["examples"] = {"wins": [asdict(e) for e in won], "losses": [asdict(e) for e in lost]}
            lines += [*_examples(won, f"{second} does better", first, second)]
            lines += [*_examples(lost, f"{first} does better", first, second)]
        if question.judge:
            rate = ask_judge(app, question.judge, question.sets, one, other, alpha=question.level)
            record["win_rate"] = asdict(rate)
            lines += [_win_sentence(rate, before.suite, first, second), win_table(rate, question.level)]
    return record, "\n".join([*lines, ""])


def difference_table(found: SuiteComparison, first: str, second: str, alpha: float) -> str:
    """The suite, then a row a slice."""
    rows = [_row("", found.whole), *(_row("  ", part) for part in found.slices)]
    columns = ["suite", "items", "clusters", first, second, "difference", f"{100 * (1 - 2 * alpha):g}% interval"]
    shown = table([*columns, "wins/ties/losses", "unscored"], rows)
    return f"{shown}\nEach slice has its own interval, not corrected for their number." if found.slices else shown


def _row(indent: str, d: Difference) -> list[str]:
    return [
        indent + d.name,
        str(d.interval.n),
        str(d.clusters),
        f"{d.before:.1%}",
        f"{d.after:.1%}",
        f"{100 * d.interval.estimate:+.2f}",
        f"[{100 * d.interval.lower:+.2f}, {100 * d.interval.upper:+.2f}]",
        f"{d.wins}/{d.ties}/{d.losses}",
        str(d.unscored) if d.unscored else "",
    ]


def _examples(found: Sequence[Example], title: str, first: str, second: str) -> list[str]:
    lines = [f"{title}:" if found else f"{title}: nowhere"]
    for e in found:
        lines.append(f"  {e.id}  {e.question[:SHOWN]}")
        for name, score, label, answer in zip((first, second), e.scores, e.labels, e.answers, strict=True):
            lines.append(f"    {name}: {score:.2f} {label}  {answer.strip()[:SHOWN] or '(nothing)'}")
    return lines


# ---------------------------------------------------------------- a judge


def ask_judge(
    app: App, name: str, sets: Sequence[str], before: Sequence[Any], after: Sequence[Any], *, alpha: float
) -> WinRate:
    """The judge's verdicts on every pair of answers, a pair an epoch."""
    from harness.config import apply_sets
    from harness.judging import Bench, figures_of
    from harness.monitors import pair_up
    from harness.protocols import RunContext
    from harness.win_rate import judge_both_orders, win_rate

    try:
        pairs = pair_up(before, after)
    except ValueError as error:  # ids and clusters are no part of a measurement's identity
        raise ConfigError(str(error), where="--judge", remedy="Evaluate both on one version of the suite.") from None
    context = RunContext(progress=app.view, components=app.registry)
    judge = app.registry.create("judge", name, apply_sets({}, sets), context, where="--judge")
    bench = Bench({name: judge}, {name: 1.0})
    verdicts = judge_both_orders(bench, [pair.group for pair in pairs])
    figures = figures_of(judge)
    bench.close()
    return replace(win_rate(name, verdicts, alpha=alpha), figures=figures)


def _win_sentence(rate: WinRate, suite: str, first: str, second: str) -> str:
    said = f"{suite}: {rate.judge} prefers {second} to {first} in {rate.rate.estimate:.1%} of {rate.rate.n} pairs"
    if rate.at_equal_length is None:
        longer = second if rate.longer > 0.5 else first
        return f"{said}; {longer}'s answers are always the longer ones, so what length does cannot be told."
    at, low, high = rate.at_equal_length
    return f"{said}, and would in {at:.1%} [{low:.1%}, {high:.1%}] if the answers were equally long."


FLIPS = "shown the other way round, the other wins (a judge that asks both ways says so itself); they count half"


def win_table(rate: WinRate, alpha: float) -> str:
    def row(name: str, bounds: Bounds | None, meaning: str, form: str = ".1%") -> list[str]:
        if bounds is None:
            return [name, "not known", "", meaning]
        estimate, lower, upper = bounds
        return [name, f"{estimate:{form}}", f"[{lower:{form}}, {upper:{form}}]", meaning]

    r = rate.rate
    rows = [
        row("win rate", (r.estimate, r.lower, r.upper), "ties count half"),
        row("at equal length", rate.at_equal_length, "length-controlled"),
        row("length effect", rate.length_effect, "log-odds of a far longer answer", "+.2f"),
        ["longer", f"{rate.longer:.1%}", "", "how often the second answer is the longer one"],
        ["ties", f"{rate.ties:.1%}", "", ""],
        ["order flips", f"{rate.figures.get('flip_rate', rate.order_flips):.1%}", "", FLIPS],
        ["unscored", f"{rate.unscored} of {rate.pairs}", "", "pairs with a verdict missing"],
    ]
    return table([rate.judge, "value", f"{100 * (1 - 2 * alpha):g}% interval", "meaning"], rows)


# ---------------------------------------------------------------- three or more


def _many(
    app: App, evaluations: Sequence[Evaluation], reports: Sequence[SuiteReport], question: Question
) -> tuple[dict[str, Any], str]:
    names = [evaluation.name for evaluation in evaluations]
    found = head_to_head.rank(names, reports, alpha=question.level)
    means = {name: report.mean for name, report in zip(names, reports, strict=True)}
    record = {"suite": reports[0].suite, "means": means, **asdict(found)}
    record["strengths"] = [{**asdict(s), "chance": s.chance} for s in found.strengths]
    record["clear"] = found.clear
    lines = [_order_sentence(reports[0].suite, found), ranking_table(found, means, question.level)]
    if found.regularized:
        lines.append(f"Some are never beaten by the others, so that strengths have no limit; for finite ones, {PRIOR}.")
    return record, "\n".join([*lines, ""])


def _order_sentence(suite: str, found: Ranking) -> str:
    """`a > b = c`: > where the first is shown to be stronger, ~ where it is not."""
    names = [strength.name for strength in found.strengths]
    parts = [names[0]]
    for name, clear in zip(names[1:], found.clear, strict=True):
        parts += [">" if clear else "~", name]
    return f"{suite}: {' '.join(parts)}   (> is shown, ~ is not)"


def ranking_table(found: Ranking, means: dict[str, float | None], alpha: float) -> str:
    rows = [
        [
            str(place),
            s.name,
            "" if (mean := means[s.name]) is None else f"{mean:.1%}",
            f"{s.log_strength:+.3f}",
            f"[{s.lower:+.3f}, {s.upper:+.3f}]",
            f"{s.chance:.1%}",
        ]
        for place, s in enumerate(found.strengths, start=1)
    ]
    columns = ["", "evaluation", "score", "log-strength", f"{100 * (1 - 2 * alpha):g}% interval", "beats the average"]
    return table(columns, rows)
