"""TRL's RewardTrainer on pairs: a scalar head that values the chosen completion over the rejected one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.chat import load_tokenizer
from harness.errors import UpdateError
from harness.protocols import RunContext
from harness.types import AdapterCheckpoint, ScoredGroup, Update
from harness_plugins.configs_training import PreferenceConfig
from harness_plugins.packing import TrainingGroup
from harness_plugins.preference import select_pairs
from harness_plugins.trl.arguments import check_args, require_trl, trl_arguments
from harness_plugins.trl.configs import TrlRewardConfig


class TrlRewardUpdater:
    """Makes what the updater `reward_model` makes: an adapter with a head, for the judge of that name."""

    def __init__(self, config: TrlRewardConfig, context: RunContext) -> None:
        require_trl()
        from trl import RewardConfig

        check_args(config.args, RewardConfig, where="trl-reward")
        self.config = config
        self.context = context

    def update(
        self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, out: Path, seed: int
    ) -> Update:
        from harness_plugins.adapters import save_adapter
        from harness_plugins.memory import release
        from harness_plugins.reward_head import open_reward_model

        choice = PreferenceConfig(pairs=self.config.pairs, min_margin=self.config.min_margin)
        selection = select_pairs(groups, choice, where="trl-reward")
        model = open_reward_model(self.context, self.config.dtype, parent=parent, seed=seed)
        try:
            trained = fit_reward(model, selection.groups, self.config, self.context, seed)
            out.mkdir(parents=True, exist_ok=True)
            base = self.context.require_model().fingerprint
            checkpoint = save_adapter(model, out, base=base, probe_token_ids=None, kind="reward_model")
        finally:
            del model
            release()
        return Update(checkpoint, {**selection.metrics, **trained})


def fit_reward(
    model: Any, pairs: Sequence[TrainingGroup], config: TrlRewardConfig, context: RunContext, seed: int
) -> dict[str, float]:
    """Train `model`, a sequence classifier with one label and a trainable adapter, in place on the groups' pairs.

    Returns the metrics of `run_trainer`, among them `trl/accuracy`: the share of pairs in the right order, before each
    step. Raises ConfigError on a setting that TRL refuses, and UpdateError without pairs.
    """
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    from harness_plugins.trl.common import run_trainer

    rows = [
        {
            "chosen_ids": [*group.prompt_token_ids, *group.completions[chosen].token_ids],
            "rejected_ids": [*group.prompt_token_ids, *group.completions[rejected].token_ids],
        }
        for group in pairs
        for chosen, rejected in group.pairs
    ]
    if not rows:
        raise UpdateError("there is no pair to train on", where="trl-reward")

    def make_trainer(model: Any, tokenizer: Any, folder: str) -> Any:
        args = trl_arguments(
            RewardConfig,
            config,
            folder=folder,
            seed=seed,
            batch=config.batch,
            max_length=None,
            pad_token=filler(tokenizer, rows),
        )
        return RewardTrainer(model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)

    trained = run_trainer(make_trainer, model, load_tokenizer(context.require_model().path), context.progress)
    return {"update/pairs": float(len(rows)), **trained}


def filler(tokenizer: Any, rows: Sequence[dict[str, list[int]]]) -> str:
    """A token to pad with that ends no row: the head reads the last token that is not padding, and many a tokenizer
    pads with the very token that ends an answer."""
    ends = {ids[-1] for row in rows for ids in row.values()}
    free = next(i for i in range(len(tokenizer)) if i not in ends)
    return str(tokenizer.convert_ids_to_tokens(free))
