"""TRL's KTOTrainer on completions that their reward calls good or bad."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from harness.types import AdapterCheckpoint, ScoredGroup
from harness_plugins.models.packing import TrainingGroup
from harness_plugins.trl.dpo import pad_token_id
from harness_plugins.trl.updater import Job, TrlUpdater
from harness_plugins.updaters.unpaired import require_others, select_labelled


class TrlKtoUpdater(TrlUpdater):
    """Trains on single verdicts. The reference is the policy at the start of the update: the parent adapter, or the
    base.

    KTOTrainer tokenizes text and takes no token ids: they reach its collator as those of trl-dpo do. It estimates the
    KL divergence from each prompt with the completion of the row before it in the batch, so rows are in an order
    (equal in all epochs) in which neighbours have different prompts as far as the data allow, and a batch of one row,
    which would be compared with itself, is left out.
    """

    name = "trl-kto"
    trl_config = "KTOConfig"

    def job(self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, seed: int) -> Job:
        selection = select_labelled(groups, self.config.desirable, where=self.name)
        compares = self.config.args.get("loss_type", "kto") != "apo_zero_unpaired"  # which estimates no KL divergence
        if compares:
            require_others(selection.groups, "kto", where=self.name)
        every = round_robin(selection.groups, random.Random(seed))
        rows = every[:-1] if compares and len(every) % self.config.batch == 1 else every

        def make_trainer(model: Any, tokenizer: Any, args: Any) -> Any:
            from datasets import Dataset
            from trl import KTOTrainer
            from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

            collate = DataCollatorForUnpairedPreference(
                pad_token_id=pad_token_id(tokenizer), pad_to_multiple_of=args.pad_to_multiple_of
            )

            def batch(examples: Sequence[dict[str, Any]]) -> Any:
                chosen = [rows[example["row"]] for example in examples]
                return collate(with_others(chosen) if compares else chosen)

            texts = [{"prompt": "0", "completion": "1", "label": row["label"], "row": i} for i, row in enumerate(rows)]
            return KTOTrainer(
                model=model,
                args=args,
                data_collator=batch,
                train_dataset=Dataset.from_list(texts),
                processing_class=tokenizer,
            )

        tokens = sum(len(row["completion_ids"]) for row in rows)
        return Job(
            make_trainer,
            {
                "per_device_train_batch_size": self.config.batch,
                "max_length": None,
                "remove_unused_columns": False,
                "train_sampling_strategy": "sequential",
            },
            lambda: {
                **selection.metrics,
                "update/left_out": float(len(every) - len(rows)),
                "update/tokens": float(tokens * self.config.epochs),
            },
            selection.probe_token_ids,
        )


def round_robin(groups: Sequence[TrainingGroup], random_order: random.Random) -> list[dict[str, Any]]:
    """A row a completion: one of each group in a random order of the groups, then another of each, and so on."""
    shuffled = random_order.sample(groups, len(groups))
    columns = [random_order.sample(group.completions, len(group.completions)) for group in shuffled]
    return [
        {
            "prompt_ids": list(group.prompt_token_ids),
            "completion_ids": list(completion.token_ids),
            "label": bool(completion.desirable),
        }
        for turn in zip_longest(*columns)
        for group, completion in zip(shuffled, turn, strict=True)
        if completion is not None
    ]


def with_others(batch: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The batch with each row's mismatched completion, that of the row before it, as KTOTrainer pairs them."""
    return [{**row, "KL_completion_ids": batch[i - 1]["completion_ids"]} for i, row in enumerate(batch)]
