"""Evaluations are kept: found again, taken over by others, and refused where they are not what they were."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from eval_plans import REGISTRY, planned, run

import harness
from harness import evaluating
from harness.config import EvalConfig
from harness.errors import StoreError
from harness.eval_plan import EvalPlan
from harness.evaluations import EvalStore


def test_the_same_again_is_found_and_nothing_is_sampled(tmp_path: Path, plan: EvalPlan, sampled: Counter[str]) -> None:
    first = run(tmp_path / "e", plan)
    assert sampled == {"letters": 24, "others": 10, "engine": 1}
    again = run(tmp_path / "e", plan)
    assert sampled == {"letters": 24, "others": 10, "engine": 1}
    assert (first.already_finished, again.already_finished) == (False, True)
    assert again.evaluation.report == first.evaluation.report
    same = {"model": plan.model.name, "generator": plan.generator, "config": plan.config, "registry": REGISTRY}
    for options in ({}, {"out": tmp_path / "e"}):
        report, groups = harness.evaluate([*plan.named.values()], **same, **options)
        assert report == first.evaluation.report
        assert groups == {name: first.evaluation.groups(name) for name in plan.named}


def test_the_name_depends_on_all_that_counts_and_on_nothing_else(
    tmp_path: Path, letters: Path, tiny_model: Path, plan: EvalPlan
) -> None:
    one = planned([letters], tiny_model)
    assert one.name.startswith("tiny-letters-")
    moved = Path(shutil.copytree(letters, tmp_path / "elsewhere" / "letters"))
    assert planned([moved], tiny_model).name == one.name
    others = [
        planned([letters], tiny_model, seed=1),
        planned([letters], tiny_model, config=EvalConfig(epochs=2, temperature=1.0)),
        planned([letters], tiny_model, judges={"exact": {"match": "contains"}}),
        planned([letters], tiny_model, script={"default": ["b"]}),
        plan,
    ]
    manifest = letters / "suite.toml"
    manifest.write_text(manifest.read_text().replace('role = "target"', 'role = "target"\nfloor = 0.2'))
    others.append(planned([letters], tiny_model))
    (letters / "items.jsonl").write_text((letters / "items.jsonl").read_text().replace("say a", "say aa"))
    others.append(planned([letters], tiny_model))
    assert len({one.name, *(other.name for other in others)}) == 8


def test_a_suite_that_another_evaluation_has_is_taken_over(
    tmp_path: Path, letters: Path, tiny_model: Path, plan: EvalPlan, sampled: Counter[str]
) -> None:
    evals = tmp_path / "evals"
    alone = run(evals / "alone", planned([letters], tiny_model), evals=evals)
    both = run(evals / "both", plan, evals=evals)
    assert both.taken_over == {"letters": "alone"}
    assert sampled == {"letters": 24, "others": 10, "engine": 2}
    assert both.evaluation.report.suite("letters") == alone.evaluation.report.suite("letters")
    assert both.evaluation.report == run(tmp_path / "fresh", plan).evaluation.report
    seeded = run(evals / "seeded", planned([letters], tiny_model, seed=1), evals=evals)
    assert not seeded.taken_over


def test_what_is_damaged_is_not_taken_over(
    tmp_path: Path, letters: Path, tiny_model: Path, plan: EvalPlan, sampled: Counter[str]
) -> None:
    evals = tmp_path / "evals"
    alone = run(evals / "alone", planned([letters], tiny_model))
    path = alone.evaluation.folders[0] / "letters.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    both = run(evals / "both", plan, evals=evals)
    assert not both.taken_over
    assert sampled["letters"] == 48


def test_two_at_once_are_refused_and_so_is_another_identity(
    tmp_path: Path, plan: EvalPlan, letters: Path, tiny_model: Path
) -> None:
    store = EvalStore.create(tmp_path / "e", plan.identity, named=plan.named, versions={})
    with store.lock(), pytest.raises(StoreError, match="another process"):
        run(tmp_path / "e", plan, resume=True)
    with pytest.raises(StoreError, match=r"another evaluation: its seed, suites differ"):
        run(tmp_path / "e", planned([letters], tiny_model, seed=1), resume=True)


def test_a_damaged_part_is_not_gone_on_with(tmp_path: Path, plan: EvalPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(evaluating, "judge_items", broken)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "e", plan)
    part = tmp_path / "e" / "parts" / "letters" / "000.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"000\.parquet: missing, or not what was stored"):
        run(tmp_path / "e", plan, resume=True)
