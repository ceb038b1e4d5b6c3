"""TRL's RewardTrainer on pairs: a scalar head that values the chosen completion over the rejected one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.errors import UpdateError
from harness.protocols import RunContext
from harness_plugins.packing import TrainingGroup
from harness_plugins.trl.arguments import check_args, require_trl, trl_arguments
from harness_plugins.trl.configs import TrlRewardConfig


def fit_reward(
    model: Any, pairs: Sequence[TrainingGroup], config: TrlRewardConfig, context: RunContext, seed: int
) -> dict[str, float]:
    """Train `model`, a sequence classifier with one label and a trainable adapter, in place on the groups' pairs.

    Returns the metrics of `run_trainer`, among them `trl/accuracy`: the share of pairs in the right order, before each
    step. Raises ConfigError without TRL or on a setting that it refuses, and UpdateError without pairs.
    """
    require_trl()
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    from harness.chat import load_tokenizer
    from harness_plugins.trl.common import run_trainer

    check_args(config.args, RewardConfig, where="trl-reward")
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
        args = trl_arguments(RewardConfig, config, folder=folder, seed=seed, batch=config.batch, max_length=None)
        return RewardTrainer(model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)

    trained = run_trainer(make_trainer, model, load_tokenizer(context.require_model().path), context.progress)
    return {"update/pairs": float(len(rows)), **trained}
