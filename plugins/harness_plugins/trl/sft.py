"""TRL's SFTTrainer on accepted completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.types import AdapterCheckpoint, ScoredGroup
from harness_plugins.models.packing import TrainingGroup
from harness_plugins.trl.updater import Job, TrlUpdater
from harness_plugins.updaters.sft import select_demonstrations

IGNORED = -100
"""The label that a cross-entropy leaves out."""


class TrlSftUpdater(TrlUpdater):
    """Trains on every completion whose reward is at least `min_reward`; the rows are its token ids."""

    name = "trl-sft"
    trl_config = "SFTConfig"

    def job(self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, seed: int) -> Job:
        selection = select_demonstrations(groups, self.config.min_reward, where=self.name)
        rows = [row(demonstration) for demonstration in selection.groups]
        learnt = sum(len(demonstration.completions[0].token_ids) for demonstration in selection.groups)

        def make_trainer(model: Any, tokenizer: Any, args: Any) -> Any:
            from datasets import Dataset
            from trl import SFTTrainer

            return SFTTrainer(model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)

        return Job(
            make_trainer,
            {"per_device_train_batch_size": self.config.batch, "max_length": None},
            lambda: {**selection.metrics, "update/tokens": float(learnt * self.config.epochs)},
            selection.probe_token_ids,
        )


def row(demonstration: TrainingGroup) -> dict[str, list[int]]:
    """The columns that SFTTrainer takes as they are: a sequence, and which of its tokens are learnt."""
    prompt, answer = demonstration.prompt_token_ids, demonstration.completions[0].token_ids
    return {"input_ids": [*prompt, *answer], "labels": [*[IGNORED] * len(prompt), *answer]}
