"""Evaluations by hand, and as they lie on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.evaluations import Evaluation
from harness.measuring import write_eval
from harness.types import (
    Completion,
    EvalReport,
    Group,
    ItemResult,
    Prompt,
    Role,
    Sampling,
    Score,
    ScoredGroup,
    SuiteReport,
)


def prompt(suite: str, number: int, *, size: int = 1) -> Prompt:
    """Item `number`, of clusters of `size` items, of two categories in turn."""
    content = f"{suite} question {number}"
    return Prompt(
        f"{suite}-{number}",
        ({"role": "user", "content": content},),
        cluster=f"{suite} cluster {number // size}",
        metadata={"category": "even" if number % 2 == 0 else "odd"},
    )


def suite_report(
    name: str,
    scores: Sequence[float | None],
    *,
    role: Role = "target",
    fingerprint: str = "as ever",
    size: int = 1,
    first: int = 0,
    epochs: Sequence[tuple[float, ...]] | None = None,
    margin: float = 0.05,
) -> SuiteReport:
    items = []
    for index, score in enumerate(scores):
        p = prompt(name, first + index, size=size)
        label = "unscored" if score is None else "right" if score > 0.5 else "wrong"
        drawn = epochs[index] if epochs else (score,)
        items.append(ItemResult(p.id, p.hash, p.cluster, score, (label,), p.metadata["category"], drawn))
    return SuiteReport(name, role, fingerprint, tuple(items), margin=margin)


def report(*suites: SuiteReport, policy: str = "base") -> EvalReport:
    return EvalReport(policy, suites)


def evaluation(name: str, *suites: SuiteReport) -> Evaluation:
    return Evaluation(name, (Path(name),), report(*suites))


def store(folder: Path, *suites: SuiteReport, policy: str = "base", answers: str = "") -> Path:
    """As `harness eval` writes one: an answer says its score, then `answers`."""
    folder.mkdir(parents=True)
    results = {}
    for suite in suites:
        results[suite.suite] = [
            ScoredGroup(
                Group(
                    prompt(suite.suite, int(item.id.rpartition("-")[2])),
                    (1,),
                    (Completion(f"{item.score}{answers}", (2,)),),
                    policy,
                    Sampling(0.0),
                ),
                ((Score("exact", item.score) if item.score is not None else Score.abstained("exact"),),),
                (item.score,),
            )
            for item in suite.items
        ]
    write_eval(folder, report(*suites, policy=policy), results)
    return folder
