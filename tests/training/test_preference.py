"""The preference updater on a tiny model: which pairs are trained on, to what effect, and against which reference."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_training import mean_logp, models, scored_group

from harness.errors import ConfigError, HarnessError
from harness.protocols import ModelRef, RunContext
from harness.types import Preference
from harness_plugins.objectives.configs import DpoConfig, OrpoConfig, SimpoConfig
from harness_plugins.objectives.dpo import Dpo
from harness_plugins.objectives.orpo import Orpo
from harness_plugins.objectives.simpo import Simpo
from harness_plugins.updaters.configs import PreferenceConfig
from harness_plugins.updaters.preference import PreferenceUpdater

CONFIG = PreferenceConfig(dtype="float32", learning_rate=1e-2, groups_per_step=2)
GROUPS = [scored_group(seed, (0.5, 0.0, 1.0, 0.0)) for seed in range(4)]
OBJECTIVES: dict[str, Any] = {
    "dpo": lambda: Dpo(DpoConfig()),
    "simpo": lambda: Simpo(SimpoConfig()),
    "orpo": lambda: Orpo(OrpoConfig(beta=1.0)),
}


def updater(context: RunContext, objective: str = "dpo", **changes: Any) -> PreferenceUpdater:
    config = CONFIG.model_copy(update={"objective": objective, **changes})
    return PreferenceUpdater(config, context, objective=OBJECTIVES[objective]())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_better_completion_gets_ahead(objective: str, context: RunContext, tmp_path: Path) -> None:
    update = updater(context, objective, epochs=4).update(GROUPS, parent=None, out=tmp_path, seed=0)
    base, trained = models(context, update.checkpoint)
    for scored in GROUPS:
        before, after = (mean_logp(m, scored, 2) - mean_logp(m, scored, 1) for m in (base, trained))
        assert after > before + 0.1


def test_dpo_starts_at_log_two_and_a_margin_of_nothing(context: RunContext, tmp_path: Path) -> None:
    one_step = updater(context, groups_per_step=4)
    metrics = one_step.update(GROUPS, parent=None, out=tmp_path, seed=0).metrics
    assert metrics["update/first_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert metrics["objective/margin"] == pytest.approx(0, abs=1e-4)


def test_pairs_and_what_is_left_out_are_counted(context: RunContext, tmp_path: Path) -> None:
    tie, unknown = scored_group(8, (0.5, 0.5)), scored_group(9, (None, 0.5, None))
    metrics = updater(context).update([*GROUPS, tie, unknown], parent=None, out=tmp_path / "a", seed=0).metrics
    assert (metrics["update/groups"], metrics["update/groups_without_pair"]) == (6, 2)
    assert (metrics["update/pairs"], metrics["update/unscored"]) == (4, 2)
    # The best is completion 2; of the two worst the first is taken.
    assert metrics["update/tokens"] == sum(len(g.group.completions[i].token_ids) for g in GROUPS for i in (1, 2))
    every = updater(context, pairs="all").update(GROUPS, parent=None, out=tmp_path / "b", seed=0).metrics
    assert every["update/pairs"] == 4 * 5
    wide = updater(context, pairs="all", min_margin=0.75).update(GROUPS, parent=None, out=tmp_path / "c", seed=0)
    assert wide.metrics["update/pairs"] == 4 * 2


def test_a_cut_off_completion_is_never_chosen(context: RunContext, tmp_path: Path) -> None:
    data = [scored_group(1, (1.0, 0.0, 0.5), truncated=(0,))]
    metrics = updater(context).update(data, parent=None, out=tmp_path, seed=0).metrics
    assert metrics["update/tokens"] == sum(len(data[0].group.completions[i].token_ids) for i in (1, 2))


def test_nothing_to_prefer_says_so(context: RunContext, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="none of 1 groups holds two completions"):
        updater(context).update([scored_group(8, (0.5, 0.5))], parent=None, out=tmp_path, seed=0)
    assert not list(tmp_path.iterdir())


def test_an_empty_completion_makes_no_pair(context: RunContext, tmp_path: Path) -> None:
    good = GROUPS[0]
    silent = dataclasses.replace(good.group.completions[2], token_ids=())
    completions = (*good.group.completions[:2], silent, good.group.completions[3])
    data = [dataclasses.replace(good, group=dataclasses.replace(good.group, completions=completions))]
    metrics = updater(context).update(data, parent=None, out=tmp_path, seed=0).metrics
    assert (metrics["update/empty"], metrics["update/pairs"]) == (1, 1)
    assert metrics["update/tokens"] == sum(len(completions[i].token_ids) for i in (0, 1))


@pytest.mark.parametrize(("reference", "moved"), [("base", True), ("previous", False)])
def test_the_reference_is_the_policy_that_was_named(
    reference: str, moved: bool, context: RunContext, tmp_path: Path
) -> None:
    parent = updater(context).update(GROUPS, parent=None, out=tmp_path / "parent", seed=0).checkpoint
    once = updater(context, groups_per_step=4, reference=reference)
    metrics = once.update(GROUPS, parent=parent, out=tmp_path / "child", seed=0).metrics
    assert (abs(metrics["objective/margin"]) > 0.1) == moved


def test_a_reference_that_no_one_reads_is_refused(context: RunContext) -> None:
    with pytest.raises(ConfigError, match="uses no reference policy"):
        updater(context, "simpo", reference="base")
    with pytest.raises(ConfigError, match="needs a reference policy"):
        updater(context, "dpo", reference="none")


def test_an_adapter_that_is_not_the_identity_at_first_is_refused(context: RunContext, tmp_path: Path) -> None:
    random = dataclasses.replace(context, adapter={**context.adapter, "init_lora_weights": False})
    with pytest.raises(HarnessError, match="before the first step"):
        updater(random, reference="base").update(GROUPS, parent=None, out=tmp_path, seed=0)
    updater(random, reference="previous").update(GROUPS, parent=None, out=tmp_path / "parent", seed=0)


def test_packing_does_not_change_the_update(
    model_folders: Callable[[str], Path], context: RunContext, tmp_path: Path
) -> None:
    packed, split, pairs = (
        updater(context, pairs="all", max_tokens_per_row=budget).update(
            GROUPS, parent=None, out=tmp_path / str(budget), seed=1
        )
        for budget in (1024, 30, 0)
    )
    for other in (split, pairs):
        assert packed.metrics["update/loss"] == pytest.approx(other.metrics["update/loss"], abs=1e-5)
        assert packed.metrics["update/grad_norm"] == pytest.approx(other.metrics["update/grad_norm"], rel=1e-3)
    assert packed.metrics["update/packed_tokens"] < pairs.metrics["update/packed_tokens"] / 2


def test_a_family_that_cannot_share_trains_the_same_pairs(
    model_folders: Callable[[str], Path], context: RunContext, tmp_path: Path
) -> None:
    """Convolutions beside attention: completions are computed one by one, and the first loss is log 2 all the same."""
    hybrid = dataclasses.replace(context, model=ModelRef("hybrid", model_folders("lfm2"), "f" * 64))
    metrics = updater(hybrid, epochs=4).update(GROUPS, parent=None, out=tmp_path, seed=0).metrics
    assert metrics["update/shared_prefix"] == 0
    assert metrics["update/first_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert metrics["update/last_loss"] < 0.9 * metrics["update/first_loss"]


def test_equal_seeds_give_equal_adapters(context: RunContext, tmp_path: Path) -> None:
    first, again, other = (
        updater(context).update(GROUPS, parent=None, out=tmp_path / name, seed=seed).checkpoint.version
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first == again != other


def test_pairs_are_those_that_a_judge_has_compared(context: RunContext, tmp_path: Path) -> None:
    """Against the rewards: here they say the opposite."""
    judged = [
        dataclasses.replace(scored, preferences=(Preference("judge", 1, 2), Preference("judge", 3, 2, 0.2)))
        for scored in GROUPS
    ]
    update = updater(context, pairs="judged", min_margin=0.5, epochs=4).update(
        judged, parent=None, out=tmp_path, seed=0
    )
    assert update.metrics["update/pairs"] == 4
    base, trained = models(context, update.checkpoint)
    for scored in GROUPS:
        before, after = (mean_logp(m, scored, 1) - mean_logp(m, scored, 2) for m in (base, trained))
        assert after > before + 0.1


def test_pairs_of_equal_texts_are_counted(context: RunContext, tmp_path: Path) -> None:
    first = GROUPS[0].group
    twins = (*first.completions[:3], first.completions[2])
    groups = [dataclasses.replace(GROUPS[0], group=dataclasses.replace(first, completions=twins)), *GROUPS[1:]]
    metrics = updater(context, pairs="all").update(groups, parent=None, out=tmp_path, seed=0).metrics
    assert metrics["update/equal_texts"] == 1  # the third and the fourth, whose rewards differ
