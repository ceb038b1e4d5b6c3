"""Evaluations for other programs and for people: JSON, Markdown, JUnit XML. Equal evaluations give equal text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.evaluations import Evaluation
from harness.junit import junit_report, verdict
from harness.summary import Figures, Summary, estimate_cells, summarize
from harness.types import ItemResult, SuiteReport

EXCERPT = 300
"""Characters of an answer that are shown."""


# ---------------------------------------------------------------- JSON


def as_record(evaluation: Evaluation, *, threshold: float = 1.0) -> dict[str, Any]:
    """The report with the figures made from it; `threshold` is the score from which on an answer counts as right."""
    suites = evaluation.report.suites
    return {
        "means": {suite.suite: suite.mean for suite in suites},
        "figures": {suite.suite: asdict(summarize(suite, threshold=threshold)) for suite in suites},
        "identity": dict(evaluation.identity),
        "report": asdict(evaluation.report),
    }


def json_report(evaluation: Evaluation, *, threshold: float = 1.0, worst: int = 5) -> str:
    """`as_record`, and the lowest-scored items of each suite."""
    record = as_record(evaluation, threshold=threshold)
    record["worst"] = {
        suite.suite: [{"id": item.id, "score": item.score, "answer": answer, "verdict": verdict}
                      for item, answer, verdict in worst_items(evaluation, suite, worst)]
        for suite in evaluation.report.suites
    }  # fmt: skip
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


# ---------------------------------------------------------------- Markdown


def markdown_report(evaluation: Evaluation, *, threshold: float = 1.0, worst: int = 5) -> str:
    """Tables of suites, slices, pass@k and the `worst` items of each suite."""
    lines = [f"# {_cell(Path(evaluation.name).name)}", "", f"Policy `{evaluation.report.policy_version[:12]}`.", ""]
    summaries = [(suite, summarize(suite, threshold=threshold)) for suite in evaluation.report.suites]
    lines += _table(_FIGURES, [[s.suite, s.role, *_figure_cells(summary.whole)] for s, summary in summaries])
    for suite, summary in summaries:
        lines += [*_details(evaluation, suite, summary, worst)]
    return "\n".join(lines).rstrip() + "\n"


_FIGURES = ("suite", "role", "items", "unscored", "clusters", "mean", "95% interval", "SE")


def _figure_cells(figures: Figures) -> list[str]:
    return [
        str(figures.items),
        str(figures.unscored),
        str(figures.clusters),
        *estimate_cells(figures.score),
    ]


def _details(evaluation: Evaluation, suite: SuiteReport, summary: Summary, worst: int) -> Iterator[str]:
    yield from ("", f"## {_cell(suite.suite)}", "")
    if summary.slices:
        yield from _table(("slice", *_FIGURES[2:]), [[part.name, *_figure_cells(part)] for part in summary.slices])
        yield ""
    if summary.passing and len(suite.items[0].epochs) > 1:
        rows = [
            [str(row.k), *estimate_cells(row.at_least_one), *estimate_cells(row.all_of_them)] for row in summary.passing
        ]
        yield from _table(("k", "pass@k", "95% interval", "SE", "pass^k", "95% interval", "SE"), rows)
        yield ""
    if shown := worst_items(evaluation, suite, worst):
        rows = [
            [item.id, "unscored" if item.score is None else f"{item.score:.3g}", verdict, answer]
            for item, answer, verdict in shown
        ]
        yield from _table(("worst items", "score", "verdict", "answer"), rows)


def worst_items(evaluation: Evaluation, suite: SuiteReport, count: int) -> list[tuple[ItemResult, str, str]]:
    """The items that are unscored or scored below 1, lowest first, with their lowest answer (an excerpt) and what the
    judges say of it."""
    pairs = zip(suite.items, evaluation.groups(suite.suite), strict=True)
    low = [(item, group) for item, group in pairs if item.score is None or item.score < 1]
    low.sort(key=lambda pair: (pair[0].score is not None, pair[0].score or 0.0, pair[0].id))
    found = []
    for item, group in low[:count]:
        rewards = [(reward is not None, reward or 0.0, index) for index, reward in enumerate(group.rewards)]
        index = min(rewards)[2]
        found.append((item, group.group.completions[index].text.strip()[:EXCERPT], verdict(group.scores[index])))
    return found


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines]


def _cell(text: str) -> str:
    """As one cell of a table: no line ends, and nothing that would be markup."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*_|<>\[\]#])", r"\\\1", flat)


def render(evaluation: Evaluation, form: str, *, threshold: float = 1.0, worst: int = 5) -> str:
    """The evaluation as `json`, `markdown` or `junit`. An answer with a score of `threshold` or
    more counts as right; `worst` is how many items of each suite the first two single out (the third lists all)."""
    if form == "junit":
        return junit_report(evaluation, threshold=threshold)
    return {"json": json_report, "markdown": markdown_report}[form](evaluation, threshold=threshold, worst=worst)
