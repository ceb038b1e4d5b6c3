"""TRL's RewardTrainer on pairs: a scalar head that values the chosen completion over the rejected one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.types import AdapterCheckpoint, ScoredGroup
from harness_plugins.trl.dpo import pair_rows
from harness_plugins.trl.updater import Job, TrlUpdater
from harness_plugins.updaters.preference import select_pairs


class TrlRewardUpdater(TrlUpdater):
    """Makes what the updater `reward_model` makes: an adapter with a head, for the judge of that name.

    Of its metrics, `trl/accuracy` is the share of pairs in the right order, before each step.
    """

    name = "trl-reward"
    trl_config = "RewardConfig"

    def job(self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, seed: int) -> Job:
        from harness.chat import load_tokenizer

        selection = select_pairs(groups, self.config, where=self.name)
        rows = [
            {side: row["prompt_ids"] + row[side] for side in ("chosen_ids", "rejected_ids")}
            for row in pair_rows(selection.groups)
        ]

        def make_trainer(model: Any, tokenizer: Any, args: Any) -> Any:
            from datasets import Dataset
            from trl import RewardTrainer

            data = Dataset.from_list(rows)
            return RewardTrainer(model=model, args=args, train_dataset=data, processing_class=tokenizer)

        padding = filler(load_tokenizer(self.context.require_model().path), rows)
        return Job(
            make_trainer,
            {"per_device_train_batch_size": self.config.batch, "max_length": None, "pad_token": padding},
            lambda: selection.metrics,
            selection.probe_token_ids,
        )

    def open(self, *, parent: AdapterCheckpoint | None, seed: int) -> Any:
        from harness_plugins.training.reward_head import open_reward_model

        return open_reward_model(self.context, self.config.dtype, parent=parent, seed=seed)

    def seal(self, model: Any, out: Path, probe_token_ids: Sequence[int]) -> AdapterCheckpoint:
        from harness_plugins.training.reward_head import seal_reward_model

        return seal_reward_model(self.context, model, out)


def filler(tokenizer: Any, rows: Sequence[dict[str, list[int]]]) -> str:
    """A token to pad with that ends no row: the head reads the last token that is not padding, and many a tokenizer
    pads with the very token that ends an answer."""
    ends = {ids[-1] for row in rows for ids in row.values()}
    free = next(i for i in range(len(tokenizer)) if i not in ends)
    return str(tokenizer.convert_ids_to_tokens(free))
