"""A stored run to audit: one round of samples, its evaluation and that of the starting point, without any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.measuring import write_eval
from harness.records import write_groups
from harness.store import RunStore
from harness.types import (
    Completion,
    EvalReport,
    Group,
    ItemResult,
    Prompt,
    Sampling,
    Score,
    ScoredGroup,
    SuiteReport,
)

Judge = Callable[[str], float | None]


def scored_group(prompt: Prompt, texts: Sequence[str], **judges: Judge) -> ScoredGroup:
    """With the first judge's values as rewards."""
    group = Group(prompt, (1,), tuple(Completion(text, (1,)) for text in texts), "base", Sampling())
    scores = tuple(
        tuple(
            Score.failed(name, "down") if (value := judge(text)) is None else Score(name, value)
            for name, judge in judges.items()
        )
        for text in texts
    )
    return ScoredGroup(group, scores, tuple(of_text[0].value for of_text in scores))


def prompt(number: int, **fields: object) -> Prompt:
    message = {"role": "user", "content": f"question {number}"}
    category = {"category": "even" if number % 2 == 0 else "odd"}
    return Prompt(f"p{number}", (message,), **{"metadata": category, **fields})  # type: ignore[arg-type]


def build_run(folder: Path, training: Sequence[ScoredGroup], evals: Sequence[Sequence[ScoredGroup]] = ()) -> Path:
    """Round 1 with these samples; `evals` are those of the starting point and of round 1, on the suite `letters`."""
    store = RunStore.create(folder, {"suites": {"letters": {"train": "t"}}, "config": {"stages": []}}, "")
    store.step(1, "judge", "groups.parquet", make=lambda path: write_groups(path, training), read=lambda path: None)
    for index, groups in enumerate(evals):
        items = tuple(ItemResult(g.group.prompt.id, g.group.prompt.hash, "", g.rewards[0]) for g in groups)
        report = EvalReport("base", (SuiteReport("letters", "target", "f", items),))

        def make(path: Path, report: EvalReport = report, groups: Sequence[ScoredGroup] = groups) -> None:
            path.mkdir()
            write_eval(path, report, {"letters": list(groups)})

        store.step(index, "evaluate", "eval", make=make, read=lambda path: None)
    store.record(0, "commit", {"outcome": "promoted", "version": "base"})
    return folder
