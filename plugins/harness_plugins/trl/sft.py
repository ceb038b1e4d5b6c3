"""TRL's SFTTrainer on accepted completions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import UpdateError
from harness.protocols import RunContext
from harness.types import AdapterCheckpoint, ScoredGroup, Update
from harness_plugins.packing import TrainingGroup
from harness_plugins.sft import choose
from harness_plugins.trl.arguments import check_args, require_trl, trl_arguments
from harness_plugins.trl.configs import TrlSftConfig

IGNORED = -100
"""The label that a cross-entropy leaves out."""


class TrlSftUpdater:
    """Trains on every completion whose reward is at least `min_reward`; the rows are its token ids."""

    def __init__(self, config: TrlSftConfig, context: RunContext) -> None:
        require_trl()
        from trl import SFTConfig

        check_args(config.args, SFTConfig, where="trl-sft")
        self.config = config
        self.context = context

    def update(
        self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, out: Path, seed: int
    ) -> Update:
        from harness_plugins.trl.common import fit_with_trl

        chosen = choose(groups, self.config.min_reward)
        if not chosen.demonstrations:
            raise UpdateError(
                f"none of {chosen.seen} completions has a reward of at least {self.config.min_reward} "
                f"({chosen.unscored} are unscored, {chosen.truncated} have it and are cut off)",
                where="trl-sft",
                remedy="Lower min_reward, or look at the judges' verdicts.",
            )
        rows = [row(demonstration) for demonstration in chosen.demonstrations]

        def make_trainer(model: Any, tokenizer: Any, folder: str) -> Any:
            from datasets import Dataset
            from trl import SFTConfig, SFTTrainer

            args = trl_arguments(
                SFTConfig, self.config, folder=folder, seed=seed, batch=self.config.batch, max_length=None
            )
            return SFTTrainer(model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)

        trained = sum(label != IGNORED for row in rows for label in row["labels"])
        return fit_with_trl(
            self.context,
            self.config,
            make_trainer,
            parent=parent,
            out=out,
            seed=seed,
            probe_token_ids=rows[0]["input_ids"],
            metrics=lambda: {
                "update/demonstrations": float(len(rows)),
                "update/unscored": float(chosen.unscored),
                "update/below_min_reward": float(chosen.below),
                "update/truncated": float(chosen.truncated),
                "update/tokens": float(trained * self.config.epochs),
            },
        )


def row(demonstration: TrainingGroup) -> dict[str, list[int]]:
    """The columns that SFTTrainer takes as they are: a sequence, and which of its tokens are learnt."""
    prompt, answer = demonstration.prompt_token_ids, demonstration.completions[0].token_ids
    return {"input_ids": [*prompt, *answer], "labels": [*[IGNORED] * len(prompt), *answer]}
