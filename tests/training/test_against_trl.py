"""Losses, gradients and advantages equal those of TRL's own trainers on the same tiny model and batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import pytest
import torch
from datasets import Dataset
from tiny_families import VOCABULARY, tiny_model
from tiny_training import assert_same_gradients, gradients, tokens, with_lora
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from harness.advantages import group_advantages
from harness.protocols import Objective
from harness_plugins.configs_objectives import CispoConfig, ClippedConfig, GspoConfig
from harness_plugins.objectives.cispo import Cispo
from harness_plugins.objectives.grpo import Bnpo, Dapo, DrGrpo, Grpo
from harness_plugins.objectives.gspo import Gspo
from harness_plugins.objectives.nll import Nll
from harness_plugins.objectives.rloo import Rloo
from harness_plugins.packing import TrainingCompletion, TrainingGroup, TrainingStep, make_step
from harness_plugins.training import sequence_batch

LIMIT = 12
TEMPERATURE = 0.8
REWARDS = [[1.0, 0.0, 0.25, 0.25], [0.5, 0.9, 0.1, 0.3]]


def training_groups() -> list[TrainingGroup]:
    """Two prompts of unequal length, four completions each; old and reference log-probs far enough to clip."""
    generator = torch.Generator().manual_seed(5)
    model = with_lora(tiny_model()).eval()
    groups = []
    for p, length in enumerate((9, 6)):
        prompt = tokens(length, p)
        completions = []
        for g in range(4):
            answer = tokens(3 + 2 * g + p, 50 + 10 * p + g)
            with torch.no_grad():
                logits_T_V = model(torch.tensor([prompt + answer])).logits[0] / TEMPERATURE
            logps_T = logits_T_V.log_softmax(-1)[range(length - 1, length + len(answer) - 1), list(answer)]
            near = [(logps_T + 0.2 * torch.randn(len(answer), generator=generator)).tolist() for _ in range(2)]
            completions.append(
                TrainingCompletion(answer, (-1.0) ** g * (0.5 + 0.25 * g + p), tuple(near[0]), tuple(near[1]))
            )
        groups.append(TrainingGroup(prompt, tuple(completions)))
    return groups


def ours(model: Any, step: TrainingStep, objective: Objective) -> tuple[float, dict[str, torch.Tensor]]:
    loss = 0.0
    for row in step.rows:
        output = objective(sequence_batch(model, row, step.totals, TEMPERATURE))
        output.loss.backward()
        loss += output.loss.item()
    result = gradients(model)
    model.zero_grad()
    return loss, result


def padded(rows: list[tuple[float, ...]], *, left: bool = False) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([(0,) * (width - len(r)) + r if left else r + (0,) * (width - len(r)) for r in rows])


def trl_inputs(groups: list[TrainingGroup]) -> dict[str, Any]:
    pairs = [(group.prompt_token_ids, completion) for group in groups for completion in group.completions]
    prompts = [prompt for prompt, _ in pairs]
    answers = [completion.token_ids for _, completion in pairs]
    completion_mask = padded([(1,) * len(answer) for answer in answers])
    old_logps_N_T = padded([completion.old_logps for _, completion in pairs])
    return {
        "prompt_ids": padded(prompts, left=True),
        "prompt_mask": padded([(1,) * len(prompt) for prompt in prompts], left=True),
        "completion_ids": padded(answers),
        "completion_mask": completion_mask,
        "advantages": torch.tensor([completion.advantage for _, completion in pairs]),
        "old_per_token_logps": old_logps_N_T,
        "old_logps": (old_logps_N_T * completion_mask).sum(1),
        "ref_per_token_logps": padded([completion.ref_logps for _, completion in pairs]),
        "num_items_in_batch": completion_mask.sum(),
    }


def no_reward(completions: list[str], **_: Any) -> list[float]:
    return [0.0] * len(completions)


def make_trainer(kind: str, folder: Path, rewards: Any = no_reward, **options: Any) -> Any:
    vocabulary = {f"t{i}": i for i in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="t3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    processing = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="t0", eos_token="t2")
    trainer, config = {"grpo": (GRPOTrainer, GRPOConfig), "rloo": (RLOOTrainer, RLOOConfig)}[kind]
    arguments = config(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=LIMIT,
        temperature=TEMPERATURE,
        **options,
    )
    prompts = Dataset.from_list([{"prompt": "t5 t6 t7"}, {"prompt": "t8 t9"}])
    return trainer(
        model=with_lora(tiny_model()),
        reward_funcs=rewards,
        args=arguments,
        train_dataset=prompts,
        processing_class=processing,
    )


def trl_loss(trainer: Any, inputs: dict[str, Any]) -> tuple[float, dict[str, torch.Tensor]]:
    trainer.model.train()  # no dropout in these models
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    result = gradients(trainer.model)
    trainer.model.zero_grad()
    return loss.item(), result


@dataclass(frozen=True)
class Case:
    kind: str
    objective: Any
    config: Any
    options: dict[str, Any]

    def __str__(self) -> str:
        return "-".join([self.objective.name, *(["kl"] if self.config.kl_coef else [])])


def cases() -> Iterator[Case]:
    for loss_type, objective in (("grpo", Grpo), ("dr_grpo", DrGrpo), ("dapo", Dapo), ("bnpo", Bnpo)):
        for kl_coef in (0.0, 0.3):
            config = ClippedConfig(clip_low=0.1, clip_high=0.15, kl_coef=kl_coef)
            options = {"loss_type": loss_type, "epsilon": 0.1, "epsilon_high": 0.15, "beta": kl_coef}
            yield Case("grpo", objective, config, options)
    for kl_coef in (0.0, 0.3):
        options = {"beta": kl_coef}
        yield Case(
            "grpo",
            Gspo,
            GspoConfig(clip_low=0.02, clip_high=0.03, kl_coef=kl_coef),
            {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.02, "epsilon_high": 0.03}
            | options,
        )
        yield Case(
            "grpo",
            Cispo,
            CispoConfig(clip_high=0.1, kl_coef=kl_coef),
            {"loss_type": "cispo", "epsilon_high": 1.1} | options,  # TRL is given the cap itself
        )
    yield Case("rloo", Rloo, ClippedConfig(clip_low=0.1, clip_high=0.15), {"epsilon": 0.1, "epsilon_high": 0.15})


@pytest.mark.parametrize("case", cases(), ids=str)
@pytest.mark.parametrize("budget", [0, 30, 1000], ids=["one a row", "split groups", "one row"])
def test_loss_and_gradient_equal_trl(case: Case, budget: int, tmp_path: Path) -> None:
    groups = training_groups()
    expected_loss, expected = trl_loss(make_trainer(case.kind, tmp_path, **case.options), trl_inputs(groups))
    step = make_step(groups, max_completion=LIMIT, max_tokens=budget)
    model = with_lora(tiny_model())
    loss, gradient = ours(model, step, case.objective(case.config))
    assert loss == pytest.approx(expected_loss, abs=1e-5)
    assert_same_gradients(gradient, expected, 2e-5)


def test_the_batch_above_reaches_the_clipping() -> None:
    """Otherwise the comparison would say nothing about it."""
    step = make_step(training_groups(), max_completion=LIMIT, max_tokens=1000)
    model = with_lora(tiny_model())
    batch = sequence_batch(model, step.rows[0], step.totals, TEMPERATURE)
    for objective in (Grpo, Rloo):
        fraction = objective(ClippedConfig(clip_low=0.1, clip_high=0.15))(batch).metrics["objective/clip_fraction"]
        assert 0.05 < fraction < 0.95


def test_nll_equals_the_hugging_face_loss() -> None:
    groups = training_groups()
    model = with_lora(tiny_model())
    rows = [(g.prompt_token_ids, c.token_ids) for g in groups for c in g.completions]
    labels = [(-100,) * len(prompt) + answer for prompt, answer in rows]
    width = max(map(len, labels))
    outcome = model(
        input_ids=padded([prompt + answer for prompt, answer in rows]),
        attention_mask=padded([(1,) * len(label) for label in labels]),
        labels=torch.tensor([label + (-100,) * (width - len(label)) for label in labels]),
    )
    outcome.loss.backward()
    expected = gradients(model)
    model.zero_grad()

    step = make_step(groups, max_completion=LIMIT, max_tokens=40)
    loss = torch.zeros(())
    for row in step.rows:
        share = Nll()(sequence_batch(model, row, step.totals, temperature=1.0)).loss
        share.backward()
        loss += share.detach()
    assert loss.item() == pytest.approx(outcome.loss.item(), abs=1e-5)
    assert_same_gradients(gradients(model), expected, 2e-5)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_mean_baseline_equals_grpo(scale: str, tmp_path: Path) -> None:
    check_advantages("grpo", "mean", scale, {"scale_rewards": scale}, tmp_path)


@pytest.mark.parametrize("scale", ["batch", "none"])
def test_leave_one_out_equals_rloo(scale: str, tmp_path: Path) -> None:
    check_advantages("rloo", "leave_one_out", scale, {"normalize_advantages": scale == "batch", "beta": 0.0}, tmp_path)


def check_advantages(kind: str, baseline: Any, scale: Any, options: dict[str, Any], folder: Path) -> None:
    """One of TRL's own sampling rounds, with rewards that we hand it; None is an unscored completion."""
    rewards_P_G: list[list[float | None]] = [[1.0, 0.0, None, 0.25], [0.5, 0.9, 0.1, 0.3]]
    flat = [reward for rewards_G in rewards_P_G for reward in rewards_G]
    trainer = make_trainer(kind, folder, rewards=lambda completions, **_: flat, **options)
    inputs = [{"prompt": prompt} for prompt in ("t5 t6 t7", "t8 t9") for _ in range(4)]
    trainer.model.train()
    theirs = trainer._generate_and_score_completions(inputs)["advantages"].tolist()
    result = group_advantages(rewards_P_G, baseline=baseline, scale=scale)
    mine = [0.0 if value is None else value for advantages_G in result.advantages_P_G for value in advantages_G]
    assert mine == pytest.approx(theirs, abs=1e-5)
