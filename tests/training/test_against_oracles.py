"""Loss and gradient of every built-in objective equal an independent computation on the same tiny model and data."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import oracles.groups
import oracles.pairs
import oracles.unpaired
import pytest
from oracles import BUDGETS, ORACLES, REGISTRY, Oracle
from tiny_families import tiny_model

from harness_plugins.objectives.baselines import step_baseline
from harness_plugins.objectives.configs import ClippedConfig, KtoConfig
from harness_plugins.objectives.grpo import Grpo
from harness_plugins.objectives.kto import Kto
from harness_plugins.objectives.pairs import sides
from harness_plugins.objectives.rloo import Rloo
from harness_plugins.training.steps import sequence_batch

TOLERANCE = 2e-5
"""Relative, in fp32; the largest is that of RLOO, whose ratio is a product over a completion's tokens."""


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle.name)
def test_loss_and_gradient_equal_the_oracle(oracle: Oracle, budget: str) -> None:
    errors = oracle.compare(BUDGETS[budget])
    assert errors.loss <= TOLERANCE
    assert errors.gradient <= TOLERANCE


def test_every_registered_objective_has_an_oracle() -> None:
    assert {oracle.objective for oracle in ORACLES} == set(REGISTRY.names("objective"))


def test_an_oracle_tells_a_wrong_setting() -> None:
    """One that agrees with everything would be no oracle."""
    right = next(oracle for oracle in ORACLES if oracle.name == "dpo")
    wrong = replace(right, config={"beta": 0.301}).compare(1000)
    assert wrong.loss > 1e-4
    assert wrong.gradient > 1e-4


def test_the_table_of_errors_is_made_by_a_command(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = Path(__file__).parents[2] / "benchmarks" / "objectives.py"
        return subprocess.run([sys.executable, str(command), *arguments], capture_output=True, text=True, check=False)

    done = run("nll", "gspo", "--json", str(tmp_path / "table.json"))
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "table.json").read_text())
    assert [(row["objective"], row["note"]) for row in rows] == [
        (oracle.objective, oracle.note) for oracle in ORACLES if oracle.objective in ("nll", "gspo")
    ]
    for row in rows:
        assert 0 <= row["loss_error"] <= TOLERANCE
        assert 0 < row["gradient_error"] <= TOLERANCE
        assert f"{row['gradient_error']:.1e}" in done.stdout
    assert "unknown objective no_such_objective" in run("no_such_objective").stderr


# ---------------------------------------------------------------- the data reach what is to be compared


def test_ratios_of_the_groups_are_clipped() -> None:
    step = oracles.groups.step(1000)
    batch = sequence_batch(oracles.groups.model(), step.rows[0], step.totals, oracles.groups.TEMPERATURE)
    for objective in (Grpo, Rloo):
        fraction = objective(ClippedConfig(clip_low=0.1, clip_high=0.15))(batch).metrics["objective/clip_fraction"]
        assert 0.05 < fraction < 0.95


def test_pairs_are_on_both_sides_of_the_hinge() -> None:
    step = oracles.pairs.step(1000)
    chosen, rejected = sides(sequence_batch(tiny_model(), step.rows[0], step.totals, 1.0), "test", with_reference=True)
    margins_M = 1.5 * (chosen.ratio_M - rejected.ratio_M)
    assert (margins_M < 1).any()
    assert (margins_M > 1).any()


def test_the_reference_point_of_kto_is_not_zero() -> None:
    assert step_baseline(Kto(KtoConfig()), tiny_model(), oracles.unpaired.step(1000), 1.0) > 1
