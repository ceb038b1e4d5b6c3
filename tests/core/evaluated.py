"""Reports and completions made by hand, for tests of what is done with them."""

from __future__ import annotations

from pathlib import Path

from harness.evaluations import EvalStore, scored_file
from harness.records import write_groups, write_json
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

IDENTITY = {"model": "m", "seed": 0, "suites": {"letters": {"items": "1"}}}


def scored(
    name: str, *values: float | None, text: str = "an answer", slice: str = "", failed: bool = False
) -> ScoredGroup:
    """A prompt whose completions got these values; None: the judge abstained, or failed."""
    none = Score.failed("exact", "no reply") if failed else Score.abstained("exact", "nothing to say")
    scores = tuple((none if v is None else Score("exact", v, label="ok" if v == 1 else "wrong"),) for v in values)
    prompt = Prompt(name, ({"role": "user", "content": name},), reference="gold", metadata={"category": slice})
    completions = tuple(Completion(text, (1, 2)) for _ in values)
    return ScoredGroup(Group(prompt, (1,), completions, "base", Sampling(), "scripted"), scores, values)


def item(group: ScoredGroup) -> ItemResult:
    prompt, known = group.group.prompt, [value for value in group.rewards if value is not None]
    return ItemResult(
        id=prompt.id,
        hash=prompt.hash,
        cluster=prompt.id,
        score=sum(known) / len(known) if len(known) == len(group.rewards) else None,
        labels=tuple(score.label or score.status for [score] in group.scores),
        slice=prompt.metadata["category"],
        epochs=group.rewards,
    )


def write_evaluation(folder: Path, groups: list[ScoredGroup], *, suite: str = "letters") -> EvalStore:
    store = EvalStore.create(folder, IDENTITY, named={suite: f"./{suite}"}, versions={})
    store.put(scored_file(suite), lambda path: write_groups(path, groups), {"judge/exact/mean": 0.5})
    report = EvalReport("base", (SuiteReport(suite, "target", "f", tuple(map(item, groups))),))
    store.put("report.json", lambda path: write_json(path, report))
    return store
