"""A group update by ours and by TRL's GRPOTrainer: the same groups, adapter, precision and optimizer, one step.

    python benchmarks/group_update.py [--model NAME] [--groups 2] [--repeats 3] [--json FILE] [SHAPE ...]

Groups are random tokens with made-up rewards. TRL gets them through its `rollout_func`, so nobody samples. The clock
runs from the loaded model to the end of the optimizer's step, over everything between: rewards to advantages, batches,
forward, backward, step. To make TRL's trainer is left out, to make ours is not. Old log-probs: ours are the sampler's,
as they are in a run (computed before the clock starts); TRL computes none where a batch is used for one step. Every
side's gradient and loss are compared with ours, and the command fails where they differ by more than rounding.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from update_sides import (
    OURS,
    Clock,
    Turn,
    Work,
    clock,
    compare,
    context_for,
    finish,
    parser,
    random_groups,
    trained_by,
    trl_options,
    works_of,
)

from harness.chat import load_tokenizer
from harness.types import AdapterCheckpoint, ScoredGroup
from harness_plugins.models.packing import Row, TrainingCompletion, TrainingGroup
from harness_plugins.models.shared_prefix import completion_logps
from harness_plugins.trl.common import open_policy, silence
from harness_plugins.updaters.configs import GroupConfig
from harness_plugins.updaters.group import GroupUpdater

REWARDS = (1.0, 0.0, 0.7, 0.2, 0.9, 0.4, 0.1, 0.6)
"""Of the completions of every group."""

TRL = {
    "TRL, defaults": {},
    "TRL, activations held": {"gradient_checkpointing": False},
}
"""Settings of GRPOConfig, beside a batch of eight completions a pass and autocast to bfloat16, which are its defaults.
By default it recomputes activations. Without a KL term it has no reference model, and with one step a batch it computes
no old log-probs."""


class TimedGroups(GroupUpdater):
    """Starts the clock when the model is loaded."""

    clock: Clock

    def open(self, *, parent: AdapterCheckpoint | None, seed: int) -> Any:
        model = super().open(parent=parent, seed=seed)
        self.clock.start()
        return model


def by_ours(work: Work) -> Turn:
    context = context_for(work)
    config = GroupConfig(
        objective="dapo",
        learning_rate=work.learning_rate,
        groups_per_step=work.groups,
        epochs=work.steps,
        max_grad_norm=0.0,
    )
    updater = TimedGroups(config, context)
    groups = recorded(GroupUpdater(config, context), random_groups(work, vocabulary(context), REWARDS))
    with clock() as updater.clock, tempfile.TemporaryDirectory() as folder:
        metrics = updater.update(groups, parent=None, out=Path(folder) / "out", seed=0).metrics
        return updater.clock.turn(metrics["update/first_loss"], metrics["update/last_loss"])


@torch.no_grad()
def recorded(updater: GroupUpdater, groups: Sequence[ScoredGroup]) -> list[ScoredGroup]:
    """The groups with the log-probs that a sampler would have recorded."""
    model = updater.open(parent=None, seed=0).eval()
    found = []
    for scored in groups:
        known = []
        for completion in scored.group.completions:
            alone = TrainingGroup(scored.group.prompt_token_ids, (TrainingCompletion(completion.token_ids),))
            logps_1_T, _ = completion_logps(model, Row((alone,)))
            known.append(replace(completion, logprobs=tuple(logps_1_T[0].tolist())))
        found.append(replace(scored, group=replace(scored.group, completions=tuple(known))))
    return found


def by_trl(work: Work, *, options: dict[str, Any]) -> Turn:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    context = context_for(work)
    tokenizer = load_tokenizer(context.require_model().path)
    groups = random_groups(work, len(tokenizer), REWARDS)
    given = {c.token_ids: r for g in groups for c, r in zip(g.group.completions, g.rewards, strict=True)}

    def rollout(prompts: list[str], _: Any) -> dict[str, Any]:
        seen: Counter[str] = Counter()
        answers = []
        for prompt in prompts:
            answers.append(groups[int(prompt)].group.completions[seen[prompt]].token_ids)
            seen[prompt] += 1
        asked = [list(groups[int(prompt)].group.prompt_token_ids) for prompt in prompts]
        return {"prompt_ids": asked, "completion_ids": [list(ids) for ids in answers], "logprobs": None}

    def reward(completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        return [given[tuple(ids)] for ids in completion_ids]

    with clock() as running, tempfile.TemporaryDirectory() as folder, silence():
        trainer = GRPOTrainer(
            model=open_policy(context, "bfloat16", parent=None, seed=0),
            reward_funcs=reward,
            rollout_func=rollout,
            args=GRPOConfig(
                **trl_options(work, folder),
                loss_type="dapo",
                gradient_accumulation_steps=work.groups,
                num_generations=work.completions,
                max_completion_length=work.shape.completion,
                **options,
            ),
            train_dataset=Dataset.from_list([{"prompt": str(index)} for index in range(work.groups)]),
            processing_class=tokenizer,
        )
        return trained_by(trainer, running)


def vocabulary(context: Any) -> int:
    return len(load_tokenizer(context.require_model().path))


def main() -> None:
    options = parser("Compare group updates with TRL's.", sides=TRL, groups=2).parse_intermixed_args()
    sides = {OURS: by_ours, **{name: partial(by_trl, options=TRL[name]) for name in options.side or TRL}}
    works = works_of(options, completions=len(REWARDS))
    finish(compare(sides, works, options.repeats, counts=[1]), options)


if __name__ == "__main__":
    main()
