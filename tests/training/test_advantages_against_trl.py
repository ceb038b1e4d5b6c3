"""Advantages equal those of TRL's own trainers on the same rewards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from oracles.groups import make_trainer

from harness.advantages import group_advantages


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_mean_baseline_equals_grpo(scale: str, tmp_path: Path) -> None:
    check_advantages("grpo", "mean", scale, {"scale_rewards": scale}, tmp_path)


@pytest.mark.parametrize("scale", ["batch", "none"])
def test_leave_one_out_equals_rloo(scale: str, tmp_path: Path) -> None:
    check_advantages("rloo", "leave_one_out", scale, {"normalize_advantages": scale == "batch", "beta": 0.0}, tmp_path)


def check_advantages(kind: str, baseline: Any, scale: Any, options: dict[str, Any], folder: Path) -> None:
    """One of TRL's own sampling rounds, with rewards that we hand it; None is an unscored completion."""
    rewards_P_G: list[list[float | None]] = [[1.0, 0.0, None, 0.25], [0.5, 0.9, 0.1, 0.3]]
    flat = [reward for rewards_G in rewards_P_G for reward in rewards_G]
    trainer = make_trainer(kind, str(folder), rewards=lambda completions, **_: flat, **options)
    inputs = [{"prompt": prompt} for prompt in ("t5 t6 t7", "t8 t9") for _ in range(4)]
    trainer.model.train()
    theirs = trainer._generate_and_score_completions(inputs)["advantages"].tolist()
    result = group_advantages(rewards_P_G, baseline=baseline, scale=scale)
    mine = [0.0 if value is None else value for advantages_G in result.advantages_P_G for value in advantages_G]
    assert mine == pytest.approx(theirs, abs=1e-5)
