"""TRL's DPOTrainer on pairs built from each group's rewards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import UpdateError
from harness.protocols import RunContext
from harness.types import AdapterCheckpoint, ScoredGroup, Update
from harness_plugins.configs_training import PreferenceConfig
from harness_plugins.packing import TrainingGroup
from harness_plugins.preference import build_pairs
from harness_plugins.trl.arguments import check_args, require_trl, trl_arguments
from harness_plugins.trl.configs import TrlDpoConfig


class TrlDpoUpdater:
    """Trains on pairs. The reference is the policy at the start of the update: the parent adapter, or the base.

    DPOTrainer tokenizes text and takes no token ids. So it is given texts that stand for nothing, with the number of
    their row, and its own collator is handed that row's token ids.
    """

    def __init__(self, config: TrlDpoConfig, context: RunContext) -> None:
        require_trl()
        from trl import DPOConfig

        check_args(config.args, DPOConfig, where="trl-dpo")
        self.config = config
        self.context = context

    def update(
        self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, out: Path, seed: int
    ) -> Update:
        from harness_plugins.trl.common import fit_with_trl

        found = build_pairs(groups, PreferenceConfig(pairs=self.config.pairs, min_margin=self.config.min_margin))
        if not found.groups:
            raise UpdateError(
                f"none of {len(groups)} groups holds two completions to prefer one of",
                where="trl-dpo",
                remedy="Sample more completions a prompt, lower min_margin, or use finer rewards.",
            )
        rows = pair_rows(found.groups)

        def make_trainer(model: Any, tokenizer: Any, folder: str) -> Any:
            from datasets import Dataset
            from trl import DPOConfig, DPOTrainer
            from trl.trainer.dpo_trainer import DataCollatorForPreference

            args = trl_arguments(
                DPOConfig,
                self.config,
                folder=folder,
                seed=seed,
                batch=self.config.batch,
                max_length=None,
                remove_unused_columns=False,
            )
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

        first = rows[0]
        tokens = sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows)
        return fit_with_trl(
            self.context,
            self.config,
            make_trainer,
            parent=parent,
            out=out,
            seed=seed,
            probe_token_ids=first["prompt_ids"] + first["chosen_ids"],
            metrics=lambda: {
                "update/groups": float(len(groups)),
                "update/groups_without_pair": float(len(groups) - len(found.groups)),
                "update/pairs": float(len(rows)),
                "update/unscored": float(found.unscored),
                "update/empty": float(found.empty),
                "update/tokens": float(tokens * self.config.epochs),
            },
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
