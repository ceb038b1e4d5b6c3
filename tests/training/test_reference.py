"""The reference policy of an update: its log-probs are those of the policy that was named, and the gap is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tiny_training import mean_logp, models, plain_logps, scored_group

from harness.errors import StoreError
from harness.protocols import RunContext
from harness.types import AdapterCheckpoint
from harness_plugins.models.adapters import load_base, start_adapter
from harness_plugins.models.packing import TrainingCompletion, TrainingGroup
from harness_plugins.objectives.configs import ClippedConfig, DpoConfig, KtoConfig
from harness_plugins.objectives.dpo import Dpo
from harness_plugins.objectives.grpo import Grpo
from harness_plugins.objectives.kto import Kto
from harness_plugins.objectives.nll import Nll
from harness_plugins.training.configs import ReferenceConfig
from harness_plugins.training.reference import with_reference
from harness_plugins.training.updater import Pass
from harness_plugins.updaters.configs import GroupConfig, PreferenceConfig, SftConfig, UnpairedConfig
from harness_plugins.updaters.group import GroupUpdater
from harness_plugins.updaters.preference import PreferenceUpdater
from harness_plugins.updaters.sft import SftUpdater
from harness_plugins.updaters.unpaired import UnpairedUpdater

SCORED = [scored_group(seed, (1.0, 0.0, 0.5)) for seed in range(3)]
GROUPS = [
    TrainingGroup(s.group.prompt_token_ids, tuple(TrainingCompletion(c.token_ids) for c in s.group.completions))
    for s in SCORED
]


@pytest.fixture
def adapters(context: RunContext, tmp_path: Path) -> tuple[AdapterCheckpoint, AdapterCheckpoint]:
    """Two adapters that moved the model in different ways."""
    first, second = (
        SftUpdater(SftConfig(dtype="float32", learning_rate=rate), context, objective=Nll())
        .update(SCORED, parent=None, out=tmp_path / name, seed=seed)
        .checkpoint
        for name, rate, seed in (("first", 1e-2, 0), ("second", 3e-2, 1))
    )
    return first, second


def referenced(
    context: RunContext, parent: AdapterCheckpoint | None, reference: Any, folder: Path | None = None
) -> tuple[list[TrainingGroup], float]:
    config = UnpairedConfig(dtype="float32", reference=reference, reference_adapter=folder)
    model_ref = context.require_model()
    model = start_adapter(load_base(model_ref.path, "float32"), context.adapter, parent=parent, model=model_ref, seed=0)
    how = Pass(parent, temperature=1.0, max_tokens=1024)
    groups = with_reference(model, GROUPS, reference, config, context, how)
    return groups, how.metrics["update/reference_gap"]


def mean_ref_logps(groups: list[TrainingGroup]) -> list[float]:
    return [sum(c.ref_logps or ()) / len(c.token_ids) for group in groups for c in group.completions]


def test_a_snapshot_of_the_parent_is_the_previous_policy(context: RunContext, adapters: Any) -> None:
    parent, _ = adapters
    previous, no_gap = referenced(context, parent, "previous")
    snapshot, gap = referenced(context, parent, "snapshot", parent.path)
    assert mean_ref_logps(snapshot) == pytest.approx(mean_ref_logps(previous), abs=1e-6)
    assert no_gap == 0
    assert gap == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("trained_from", ["the other adapter", "the base model"])
def test_a_snapshot_is_the_model_with_that_adapter(trained_from: str, context: RunContext, adapters: Any) -> None:
    parent, other = adapters
    groups, gap = referenced(context, parent if trained_from == "the other adapter" else None, "snapshot", other.path)
    base, snapshot = models(context, other)
    expected = [mean_logp(snapshot, scored, g) for scored in SCORED for g in range(3)]
    assert mean_ref_logps(groups) == pytest.approx(expected, abs=1e-5)

    policy = models(context, parent)[1] if trained_from == "the other adapter" else base
    distances = []
    for scored in SCORED:
        for completion in scored.group.completions:
            given = scored.group.prompt_token_ids, completion.token_ids
            with torch.no_grad():
                distances += (plain_logps(policy, *given) - plain_logps(snapshot, *given)).abs().tolist()
    assert gap == pytest.approx(sum(distances) / len(distances), rel=1e-4)
    assert gap > 0.01


def test_the_gap_to_the_base_model(context: RunContext, adapters: Any) -> None:
    _, none_yet = referenced(context, None, "base")
    _, moved = referenced(context, adapters[1], "base")
    assert none_yet == pytest.approx(0, abs=1e-6)
    assert moved > 0.05


def test_a_model_that_is_trained_itself_has_its_base_for_reference(context: RunContext, tmp_path: Path) -> None:
    whole = dataclasses.replace(context, adapter={"peft_type": "FULL"})
    config = SftConfig(dtype="float32", learning_rate=1e-3)
    parent = SftUpdater(config, whole, objective=Nll()).update(SCORED, parent=None, out=tmp_path, seed=0).checkpoint
    groups, gap = referenced(whole, parent, "base")
    base = load_base(context.require_model().path, "float32")
    expected = [mean_logp(base, scored, g) for scored in SCORED for g in range(3)]
    assert mean_ref_logps(groups) == pytest.approx(expected, abs=1e-5)
    assert gap > 0.01


@pytest.mark.parametrize("family", ["group", "preference", "unpaired"])
def test_every_updater_takes_a_snapshot(family: str, context: RunContext, adapters: Any, tmp_path: Path) -> None:
    parent, other = adapters
    options: dict[str, Any] = {"dtype": "float32", "learning_rate": 1e-3, "groups_per_step": 3}
    options |= {"reference": "snapshot", "reference_adapter": other.path}
    updater: Any = {
        "group": lambda: GroupUpdater(GroupConfig(**options), context, objective=Grpo(ClippedConfig(kl_coef=0.1))),
        "preference": lambda: PreferenceUpdater(PreferenceConfig(**options), context, objective=Dpo(DpoConfig())),
        "unpaired": lambda: UnpairedUpdater(UnpairedConfig(**options), context, objective=Kto(KtoConfig())),
    }[family]()
    update = updater.update(SCORED, parent=parent, out=tmp_path / "out", seed=0)
    assert update.metrics["update/reference_gap"] > 0.01
    assert {p.name for p in (tmp_path / "out").iterdir()} == {p.name for p in parent.path.iterdir()}


def test_no_reference_has_no_gap(context: RunContext, tmp_path: Path) -> None:
    config = GroupConfig(dtype="float32", old_logps="recompute")
    update = GroupUpdater(config, context, objective=Grpo(ClippedConfig())).update(
        SCORED, parent=None, out=tmp_path, seed=0
    )
    assert "update/reference_gap" not in update.metrics


@pytest.mark.parametrize("config", [GroupConfig, PreferenceConfig, UnpairedConfig])
def test_a_snapshot_and_its_adapter_go_together(config: type[ReferenceConfig], tmp_path: Path) -> None:
    for options in ({"reference": "snapshot"}, {"reference": "base", "reference_adapter": tmp_path}):
        with pytest.raises(ValidationError, match="go together"):
            config.model_validate(options)


def test_a_snapshot_that_is_none_of_this_model_is_refused(context: RunContext, adapters: Any, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a finished adapter"):
        referenced(context, None, "snapshot", tmp_path)
    model = dataclasses.replace(context.require_model(), fingerprint="e" * 64)
    with pytest.raises(StoreError, match="another model"):
        referenced(dataclasses.replace(context, model=model), None, "snapshot", adapters[0].path)
