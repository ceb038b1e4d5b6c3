"""A loop that a tiny model can win, with a judge that rewards what such a model can learn; a plan of an evaluation."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from eval_plans import planned
from tiny import write_suite

from harness import evaluating
from harness.eval_plan import EvalPlan

TINY: dict[str, Any] = {
    "generator": {"name": "transformers", "config": {"dtype": "float32"}},
    "adapter": {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": "all-linear"},
    "stages": [
        {
            "generator": "reference",
            "updater": "sft",
            "prompts": 24,
            "config": {"epochs": 20, "learning_rate": 0.005, "dtype": "float32"},
        },
        {
            "updater": "group",
            "prompts": 8,
            "n": 4,
            "temperature": 0.05,
            "config": {"groups_per_step": 4, "learning_rate": 0.001, "dtype": "float32"},
        },
    ],
}


@pytest.fixture
def tiny_loop(tmp_path: Path, tiny_model: Path) -> dict[str, Any]:
    """Settings of a loop of one `sft` and one `group` round on a suite whose answers are three letters."""
    folder = write_suite(tmp_path / "three-letters", items=60, train=40, letters="abc")
    return {"suite": str(folder), "model": str(tiny_model), **copy.deepcopy(TINY)}


@pytest.fixture
def plan(letters: Path, tmp_path: Path, tiny_model: Path) -> EvalPlan:
    """Two suites, three answers to each item."""
    others = write_suite(tmp_path / "others", items=10, role="monitor", letters="ab")
    return planned([letters, others], tiny_model)


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the items that are sampled, by suite, and the starts of an engine."""
    counts: Counter[str] = Counter()
    sample, start = evaluating.sample_items, evaluating.start_generator

    def counted(suite: Any, items: Any, *arguments: Any) -> Any:
        counts[suite.name] += len(items)
        return sample(suite, items, *arguments)

    def started(*arguments: Any) -> Any:
        counts["engine"] += 1
        return start(*arguments)

    monkeypatch.setattr(evaluating, "sample_items", counted)
    monkeypatch.setattr(evaluating, "start_generator", started)
    return counts
