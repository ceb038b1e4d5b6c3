"""TRL's DPOTrainer on pairs built from each group's rewards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.types import AdapterCheckpoint, ScoredGroup
from harness_plugins.models.packing import TrainingGroup
from harness_plugins.trl.updater import Job, TrlUpdater
from harness_plugins.updaters.preference import select_pairs


class TrlDpoUpdater(TrlUpdater):
    """Trains on pairs. The reference is the policy at the start of the update: the parent adapter, or the base.

    DPOTrainer tokenizes text and takes no token ids. So it is given texts that stand for nothing, with the number of
    their row, and its own collator is handed that row's token ids.
    """

    name = "trl-dpo"
    trl_config = "DPOConfig"

    def job(self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, seed: int) -> Job:
        selection = select_pairs(groups, self.config, where=self.name)
        rows = pair_rows(selection.groups)

        def make_trainer(model: Any, tokenizer: Any, args: Any) -> Any:
            from datasets import Dataset
            from trl import DPOTrainer
            from trl.trainer.dpo_trainer import DataCollatorForPreference

            collate = DataCollatorForPreference(
                pad_token_id=pad_token_id(tokenizer), pad_to_multiple_of=args.pad_to_multiple_of
            )
            texts = [{"prompt": "0", "chosen": "1", "rejected": "2", "row": i} for i in range(len(rows))]
            return DPOTrainer(
                model=model,
                args=args,
                data_collator=lambda examples: collate([rows[example["row"]] for example in examples]),
                train_dataset=Dataset.from_list(texts),
                processing_class=tokenizer,
            )

        tokens = sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows)
        return Job(
            make_trainer,
            {
                "per_device_train_batch_size": self.config.batch,
                "max_length": None,
                "remove_unused_columns": False,
            },
            lambda: {**selection.metrics, "update/tokens": float(tokens * self.config.epochs)},
            selection.probe_token_ids,
        )


def pair_rows(groups: Sequence[TrainingGroup]) -> list[dict[str, list[int]]]:
    """The columns that TRL's preference collator reads, one row a pair."""
    return [
        {
            "prompt_ids": list(group.prompt_token_ids),
            "chosen_ids": list(group.completions[chosen].token_ids),
            "rejected_ids": list(group.completions[rejected].token_ids),
        }
        for group in groups
        for chosen, rejected in group.pairs
    ]


def pad_token_id(tokenizer: Any) -> int:
    """What TRL pads with. Attention and loss leave it out, so any token serves."""
    padding = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    return 0 if padding is None else int(padding)
