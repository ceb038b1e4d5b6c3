"""Builders for the tests of the TRL updaters: a tiny model with its tokenizer, prompts, and a judge that watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import build_tiny_model
from tiny_training import scored_group
from transformers import LlamaConfig, LlamaForCausalLM
from trl import DPOTrainer, GRPOTrainer, KTOTrainer, SFTTrainer

from harness.chat import load_tokenizer, render
from harness.hookspecs import hookimpl
from harness.plugins import Origin, Registry, load_registry
from harness.protocols import ModelRef, RunContext
from harness.specs import JudgeSpec
from harness.types import Completion, Group, Prompt, Sampling, Score, ScoredGroup
from harness_plugins.trl.configs import RewardingJudge, TrlDpoConfig, TrlGrpoConfig, TrlKtoConfig, TrlSftConfig
from harness_plugins.trl.dpo import TrlDpoUpdater
from harness_plugins.trl.grpo import TrlGrpoUpdater
from harness_plugins.trl.kto import TrlKtoUpdater
from harness_plugins.trl.sft import TrlSftUpdater

DEMONSTRATIONS = [scored_group(seed, (1.0, 0.2), logprobs=False, truncated=()) for seed in range(6)]
GROUPS = [scored_group(seed, (1.0, 0.0, 0.5)) for seed in range(4)]
LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": "all-linear"}
IA3 = {"peft_type": "IA3", "target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]}
VERA = {"peft_type": "VERA", "r": 8, "target_modules": ["q_proj", "o_proj"], "d_initial": 0.5}
EMBEDDING = {"peft_type": "LORA", "r": 4, "target_modules": ["embed_tokens", "q_proj"]}


def build_trl_model(folder: Path) -> ModelRef:
    """The tiny model with its tokenizer, and weights so large that a wrong mask shows."""
    build_tiny_model(folder)
    config = LlamaConfig.from_pretrained(folder)
    config.initializer_range = 0.3
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return ModelRef("tiny", folder, "f" * 64)


def sft(context: RunContext, **changes: Any) -> TrlSftUpdater:
    given = {"dtype": "float32", "learning_rate": 1e-2, "batch": 6, "epochs": 6, **changes}
    return TrlSftUpdater(TrlSftConfig(**given), context)


def dpo(context: RunContext, **changes: Any) -> TrlDpoUpdater:
    given = {"dtype": "float32", "learning_rate": 5e-3, "batch": 4, "epochs": 6, **changes}
    return TrlDpoUpdater(TrlDpoConfig(**given), context)


def kto(context: RunContext, **changes: Any) -> TrlKtoUpdater:
    given = {"dtype": "float32", "learning_rate": 5e-3, "batch": 4, "epochs": 6, **changes}
    return TrlKtoUpdater(TrlKtoConfig(**given), context)


def grpo(context: RunContext, **changes: Any) -> TrlGrpoUpdater:
    given: dict[str, Any] = {"dtype": "float32", "learning_rate": 1e-2, "judges": (RewardingJudge(name="spy"),)}
    return TrlGrpoUpdater(TrlGrpoConfig(**given | changes), context)


class Spy:
    """A judge of first tokens that keeps what it was shown; where `value` is None it abstains."""

    def __init__(self, value: Callable[[int], float | None]) -> None:
        self.value = value
        self.shown: list[Group] = []

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        self.shown += groups
        return [tuple(self.verdict(c.token_ids[0]) for c in group.completions) for group in groups]

    def verdict(self, first: int) -> Score:
        value = self.value(first)
        return Score.abstained("spy") if value is None else Score("spy", value)


def even(token: int) -> float | None:
    """Even tokens are good, and of multiples of 5 nothing is known."""
    return None if token % 5 == 0 else float(token % 2 == 0)


def with_judges(context: RunContext, spy: Spy) -> RunContext:
    class Plugin:
        @hookimpl
        def harness_register_judges(self) -> list[JudgeSpec]:
            return [JudgeSpec("spy", "For this test", lambda config, context: spy)]

    registry: Registry = load_registry(third_party=False)
    registry.add(Plugin(), Origin("test", "test", "0"))
    return replace(context, components=registry)


def prompts(model: ModelRef) -> list[ScoredGroup]:
    """Three prompts of ours, with four completions each that nobody has judged."""
    tokenizer = load_tokenizer(model.path)
    completions = tuple(Completion("", (70 + g, 71)) for g in range(4))
    sampling = Sampling(max_tokens=6, temperature=1.3)
    result = []
    for i in range(3):
        prompt = Prompt(f"p{i}", ({"role": "user", "content": f"say {i} ünïcode"},))
        group = Group(prompt, tuple(render(tokenizer, prompt)), completions, "base", sampling)
        result.append(ScoredGroup(group, ((),) * 4, (None,) * 4))
    return result


def updaters(context: RunContext, **changes: Any) -> list[tuple[Any, list[ScoredGroup]]]:
    judged = with_judges(context, Spy(even))
    return [
        (sft(context, epochs=2, batch=2, **changes), DEMONSTRATIONS),
        (dpo(context, epochs=2, batch=2, **changes), GROUPS),
        (kto(context, epochs=2, batch=3, **changes), GROUPS),
        (grpo(judged, n=4, groups_per_step=2, **changes), prompts(context.require_model())),
    ]


Inputs = list[dict[str, Any]]


def spy_on_losses(monkeypatch: pytest.MonkeyPatch) -> Inputs:
    """What TRL's losses are computed from, batch by batch."""
    batches: Inputs = []

    def spy(trainer: Any, name: str) -> None:
        real = getattr(trainer, name)

        def loss(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            batches.append({key: value.clone() for key, value in inputs.items() if isinstance(value, torch.Tensor)})
            return real(self, model, inputs, *args, **kwargs)

        monkeypatch.setattr(trainer, name, loss)

    spy(SFTTrainer, "compute_loss")
    for trainer in (DPOTrainer, KTOTrainer, GRPOTrainer):
        spy(trainer, "_compute_loss")
    return batches
