"""Completions near the token limit: what is taken off their rewards, what is left out, and what is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tiny_training import scored_group
from trl.rewards import get_soft_overlong_punishment

from harness.advantages import group_advantages
from harness.errors import ConfigError
from harness.protocols import RunContext
from harness.types import Sampling
from harness_plugins.objectives.configs import ClippedConfig
from harness_plugins.objectives.grpo import Grpo
from harness_plugins.training.overlong import punished_rewards, soft_punishment
from harness_plugins.updaters.configs import GroupConfig
from harness_plugins.updaters.group import GroupUpdater

SIX = Sampling(max_tokens=6)
DATA = scored_group(0, (1.0, None, 0.5, 0.0), sampling=SIX, truncated=(3,))
"""Completions of 3, 4, 5 and 6 tokens; the last ran into the limit."""


def updater(context: RunContext, **options: Any) -> GroupUpdater:
    config = GroupConfig(dtype="float32", learning_rate=1e-2, old_logps="recompute", **options)
    return GroupUpdater(config, context, objective=Grpo(ClippedConfig()))


@pytest.mark.parametrize(("limit", "buffer"), [(100, 20), (7, 7), (50, 1)])
def test_the_punishment_equals_trl(limit: int, buffer: int) -> None:
    lengths = range(1, limit + 5)
    theirs = get_soft_overlong_punishment(limit, buffer)([[0] * length for length in lengths])
    assert [soft_punishment(length, limit, buffer) for length in lengths] == pytest.approx(theirs)
    assert min(theirs) == -1


def test_punished_rewards_by_hand() -> None:
    """With a buffer of 4 below 6 tokens: lengths of 3 to 6 lose a quarter a token, and unscored stays unscored."""
    assert [len(c.token_ids) for c in DATA.group.completions] == [3, 4, 5, 6]
    assert punished_rewards(DATA, 4) == pytest.approx((1 - 0.25, None, 0.5 - 0.75, 0 - 1))


def test_advantages_are_those_of_the_punished_rewards(context: RunContext, tmp_path: Path) -> None:
    punishing = updater(context, overlong="punish", overlong_buffer=4)
    rewards = [punishing.rewards(DATA)]
    assert rewards == [punished_rewards(DATA, 4)]
    expected = group_advantages(rewards, baseline="mean", scale="group").advantages_P_G[0]
    relative = group_advantages(rewards, baseline="mean", scale="group")
    (group,) = punishing.training_groups([DATA], relative)
    assert [c.advantage for c in group.completions] == [a for a in expected if a is not None]
    metrics = punishing.update([DATA], parent=None, out=tmp_path, seed=0).metrics
    assert metrics["update/overlong"] == 4
    assert metrics["update/completions"] == 3
    assert metrics["update/unscored"] == 1


def test_equal_rewards_of_unequal_lengths_become_a_signal(context: RunContext, tmp_path: Path) -> None:
    same = scored_group(0, (1.0, 1.0, 1.0, 1.0), sampling=SIX)
    punishing = updater(context, overlong="punish", overlong_buffer=2)
    metrics = punishing.update([same], parent=None, out=tmp_path, seed=0).metrics
    assert (metrics["update/groups_without_signal"], metrics["update/overlong"]) == (0, 2)


@pytest.mark.parametrize(("overlong", "trained"), [("keep", 3), ("mask", 2)])
def test_cut_off_completions_are_kept_or_masked(
    overlong: str, trained: int, context: RunContext, tmp_path: Path
) -> None:
    metrics = updater(context, overlong=overlong).update([DATA], parent=None, out=tmp_path, seed=0).metrics
    assert (metrics["update/completions"], metrics["update/overlong"]) == (trained, 1)
    lengths = [3, 5, 6][:trained]
    assert metrics["update/tokens"] == sum(lengths)


@pytest.mark.parametrize(
    "options", [{"overlong_buffer": 4}, {"overlong": "mask", "overlong_buffer": 4}, {"overlong": "punish"}]
)
def test_the_buffer_goes_with_the_punishment(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="go together"):
        GroupConfig(**options)


def test_a_buffer_longer_than_the_limit_is_refused(context: RunContext, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="overlong_buffer = 7 is longer"):
        updater(context, overlong="punish", overlong_buffer=7).update([DATA], parent=None, out=tmp_path, seed=0)
    assert not list(tmp_path.iterdir())
