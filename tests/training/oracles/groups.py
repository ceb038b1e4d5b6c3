"""Group objectives: the losses of TRL's own GRPO and RLOO trainers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from tiny_families import tiny_model
from tiny_training import plain_logps, tokens, with_lora
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from harness_plugins.models.packing import TrainingCompletion, TrainingGroup, TrainingStep, make_step
from oracles.common import Oracle, Outcome, outcome, padded, sequences, tokenizer, trl_options

LIMIT = 12
TEMPERATURE = 0.8


def model() -> Any:
    return with_lora(tiny_model())


@cache
def training_groups() -> list[TrainingGroup]:
    """Two prompts of unequal length, four completions each; old and reference log-probs far enough to clip."""
    generator = torch.Generator().manual_seed(5)
    policy = model().eval()
    groups = []
    for p, length in enumerate((9, 6)):
        prompt = tokens(length, p)
        completions = []
        for g in range(4):
            answer = tokens(3 + 2 * g + p, 50 + 10 * p + g)
            with torch.no_grad():
                logps_T = plain_logps(policy, prompt, answer, TEMPERATURE)
            near = [(logps_T + 0.2 * torch.randn(len(answer), generator=generator)).tolist() for _ in range(2)]
            completions.append(
                TrainingCompletion(answer, (-1.0) ** g * (0.5 + 0.25 * g + p), tuple(near[0]), tuple(near[1]))
            )
        groups.append(TrainingGroup(prompt, tuple(completions)))
    return groups


def step(budget: int) -> TrainingStep:
    return make_step(training_groups(), max_completion=LIMIT, max_tokens=budget)


def no_reward(completions: list[str], **_: Any) -> list[float]:
    return [0.0] * len(completions)


def make_trainer(kind: str, folder: str, rewards: Any = no_reward, **options: Any) -> Any:
    trainer, config = {"grpo": (GRPOTrainer, GRPOConfig), "rloo": (RLOOTrainer, RLOOConfig)}[kind]
    arguments = config(
        **trl_options(folder),
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=LIMIT,
        temperature=TEMPERATURE,
        **options,
    )
    return trainer(
        model=model(),
        reward_funcs=rewards,
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": "t5 t6 t7"}, {"prompt": "t8 t9"}]),
        processing_class=tokenizer(),
    )


def trl_inputs() -> dict[str, Any]:
    known = sequences(training_groups())
    mask_N_T = padded([(1,) * len(c.token_ids) for _, c in known])
    old_logps_N_T = padded([c.old_logps or () for _, c in known])
    return {
        "prompt_ids": padded([prompt for prompt, _ in known], left=True),
        "prompt_mask": padded([(1,) * len(prompt) for prompt, _ in known], left=True),
        "completion_ids": padded([c.token_ids for _, c in known]),
        "completion_mask": mask_N_T,
        "advantages": torch.tensor([c.advantage for _, c in known]),
        "old_per_token_logps": old_logps_N_T,
        "old_logps": (old_logps_N_T * mask_N_T).sum(1),
        "ref_per_token_logps": padded([c.ref_logps or () for _, c in known]),
        "num_items_in_batch": mask_N_T.sum(),
    }


def trl_loss(kind: str, **options: Any) -> Callable[[], Outcome]:
    def theirs() -> Outcome:
        with TemporaryDirectory() as folder:
            trainer = make_trainer(kind, folder, **options)
            trainer.model.train()  # no dropout in these models
            trainer.current_gradient_accumulation_steps = 1
            return outcome(trainer.model, trainer._compute_loss(trainer.model, trl_inputs()))

    return theirs


# Our settings, and what TRL calls the same.
TOKEN_CLIPS = {"clip_low": 0.1, "clip_high": 0.15}, {"epsilon": 0.1, "epsilon_high": 0.15}
SEQUENCE_CLIPS = {"clip_low": 0.02, "clip_high": 0.03}, {"epsilon": 0.02, "epsilon_high": 0.03}
TERMS: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "": ({}, {"beta": 0.0}),
    "KL": ({"kl_coef": 0.3}, {"beta": 0.3}),
    "entropy": ({"entropy_coef": 0.2}, {"beta": 0.0, "entropy_coef": 0.2}),
}


def oracles() -> Iterator[Oracle]:
    ours, theirs = TOKEN_CLIPS
    losses: dict[str, tuple[dict[str, float], dict[str, Any]]] = {
        name: (ours, theirs | {"loss_type": name}) for name in ("grpo", "dr_grpo", "dapo", "bnpo")
    }
    ours, theirs = SEQUENCE_CLIPS
    losses["gspo"] = ours, theirs | {"loss_type": "grpo", "importance_sampling_level": "sequence"}
    losses["cispo"] = {"clip_high": 0.1}, {"loss_type": "cispo", "epsilon_high": 1.1}  # TRL is given the cap itself
    for name, (config, options) in losses.items():
        for note, (term, trl_term) in TERMS.items():
            yield oracle(name, config | term, "grpo", options | trl_term, note)
    yield oracle("rloo", TOKEN_CLIPS[0], "rloo", TOKEN_CLIPS[1], "")


def oracle(name: str, config: dict[str, float], kind: str, options: dict[str, Any], note: str) -> Oracle:
    source = f"TRL {kind.upper()}Trainer"
    return Oracle(name, config, source, step, trl_loss(kind, **options), note, model, TEMPERATURE)


ORACLES = tuple(oracles())
