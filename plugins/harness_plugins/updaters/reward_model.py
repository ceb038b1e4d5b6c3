"""A reward model: the base with an adapter and a scalar head, trained on pairs of better and worse completions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.protocols import SequenceBatch, StepTotals
from harness.types import AdapterCheckpoint, ScoredGroup
from harness_plugins.models.packing import Row, TrainingCompletion, TrainingGroup
from harness_plugins.training.updater import AdapterUpdater, Selection
from harness_plugins.updaters.preference import select_pairs

UNREAD = 0
"""Appended to each completion: a policy never reads a completion's last token, and a reward is taken at it."""


class RewardModelUpdater(AdapterUpdater):
    """Trains on the same pairs as the preference updater. Its checkpoint is a PEFT adapter of task type SEQ_CLS with
    the head beside it, sealed as a reward model."""

    name = "reward_model"

    def select(self, groups: Sequence[ScoredGroup]) -> Selection:
        selection = select_pairs(groups, self.config, where=self.name)
        return dataclasses.replace(selection, groups=tuple(map(read_to_the_end, selection.groups)))

    def open(self, *, parent: AdapterCheckpoint | None, seed: int) -> Any:
        from harness_plugins.training.reward_head import open_reward_model

        if self.config.quantization != "none":
            raise ConfigError(
                "quantization would quantize the head too",
                where=self.name,
                remedy="Leave quantization out for reward models.",
            )
        return open_reward_model(
            self.context,
            self.config.dtype,
            parent=parent,
            seed=seed,
            gradient_checkpointing=self.config.gradient_checkpointing,
        )

    def why_not_shareable(self, model: Any) -> str:
        from harness_plugins.training.reward_head import why_not_shareable

        return why_not_shareable(model)

    def batch(
        self, model: Any, row: Row, totals: StepTotals, temperature: float, *, baseline: float = 0.0
    ) -> SequenceBatch:
        from harness_plugins.training.reward_head import reward_batch

        return reward_batch(model, row, totals)

    def seal(self, model: Any, out: Path, probe_token_ids: Sequence[int]) -> AdapterCheckpoint:
        from harness_plugins.training.reward_head import seal_reward_model

        return seal_reward_model(self.context, model, out)


def read_to_the_end(group: TrainingGroup) -> TrainingGroup:
    """With a token after each completion, so that its last one is read too."""
    longer = tuple(TrainingCompletion((*completion.token_ids, UNREAD)) for completion in group.completions)
    return dataclasses.replace(group, completions=longer)
