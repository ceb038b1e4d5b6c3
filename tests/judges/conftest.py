"""Real judges, made from their specs as a run makes them, and the real function-calling data."""

from __future__ import annotations

import json
from typing import Any

import pytest
from judge_cases import Verdicts

from harness.assets import fetch
from harness.protocols import RunContext
from harness.types import Completion, Group, Prompt, Sampling, Score
from harness_judges.plugin import harness_register_judges

CALL_CATEGORIES = (
    *("simple_python", "multiple", "parallel", "parallel_multiple"),
    *("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"),
)


@pytest.fixture(scope="session")
def verdicts() -> Verdicts:
    """`verdicts(judge_name, prompt, *texts, **config)`: the scores of one group."""
    specs = {spec.name: spec for spec in harness_register_judges()}

    def score(name: str, prompt: Prompt, *texts: str | Completion, **config: Any) -> tuple[Score, ...]:
        judge = specs[name].create(specs[name].config(**config), RunContext())
        completions = tuple(text if isinstance(text, Completion) else Completion(text, (1, 2)) for text in texts)
        group = Group(prompt, (1,), completions, "base", Sampling())
        (scores,) = judge.score([group])
        assert [score.judge for score in scores] == [name] * len(texts)
        return scores

    return score


@pytest.fixture(scope="session")
def bfcl_rows() -> list[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """(category, row, ground truth) of every single-turn category that asks for calls."""
    folder = fetch("bfcl")
    rows = []
    for category in CALL_CATEGORIES:
        name = f"BFCL_v4_{category}.json"
        truths = map(json.loads, (folder / "possible_answer" / name).read_text().splitlines())
        truth_of = {truth["id"]: truth["ground_truth"] for truth in truths}
        for line in (folder / name).read_text().splitlines():
            row = json.loads(line)
            rows.append((category, row, truth_of[row["id"]]))
    return rows
