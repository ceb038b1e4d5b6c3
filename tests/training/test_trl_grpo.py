"""TRL's GRPOTrainer samples from our prompts, stops where our answers end, and is rewarded by our judges."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import models
from tiny_trl import DEMONSTRATIONS, Inputs, Spy, even, grpo, prompts, sft, with_judges
from tokenizers.processors import TemplateProcessing
from transformers import GenerationConfig
from trl import GRPOTrainer

from harness.chat import decode, load_tokenizer
from harness.errors import ConfigError, HarnessError, UpdateError
from harness.protocols import ModelRef, RunContext
from harness.types import Sampling
from harness_plugins.trl.configs import RewardingJudge
from harness_plugins.trl.judged import prompt_text


def test_grpo_trains_on_our_verdicts_of_what_it_sampled(
    seen: Inputs, monkeypatch: pytest.MonkeyPatch, trl_context: RunContext, trl_model: ModelRef, tmp_path: Path
) -> None:
    rewarded: list[tuple[Any, list[float]]] = []
    asked: list[list[int]] = []
    rewards, tokenize = GRPOTrainer._calculate_rewards, GRPOTrainer._tokenize_prompts

    def spy_rewards(self: Any, inputs: Any, prompts: Any, completions: Any, ids: Any) -> Any:
        result = rewards(self, inputs, prompts, completions, ids)
        rewarded.append((ids, result[:, 0].tolist()))
        assert (self.temperature, self.max_completion_length, self.num_generations) == (1.3, 6, 8)
        return result

    def spy_tokenize(self: Any, prompts: Any) -> Any:
        result = tokenize(self, prompts)
        asked.extend(result[0])
        return result

    monkeypatch.setattr(GRPOTrainer, "_calculate_rewards", spy_rewards)
    monkeypatch.setattr(GRPOTrainer, "_tokenize_prompts", spy_tokenize)
    spy, groups = Spy(even), prompts(trl_model)
    updater = grpo(with_judges(trl_context, spy), n=8, epochs=3)
    update = updater.update(groups, parent=None, out=tmp_path, seed=0)

    assert {tuple(ids) for ids in asked} == {scored.group.prompt_token_ids for scored in groups}
    assert len(asked) == 3 * 8 * 3
    values = [(ids[0], value) for batch, row in rewarded for ids, value in zip(batch, row, strict=True)]
    assert all(value == even(first) or (math.isnan(value) and even(first) is None) for first, value in values)
    unscored = sum(math.isnan(value) for _, value in values)
    assert 0 < unscored < len(values)
    assert update.metrics["update/unscored"] == unscored
    assert update.metrics["update/completions"] == len(values) == 72

    tokenizer = load_tokenizer(trl_model.path)
    answers = [completion for group in spy.shown for completion in group.completions]
    assert sorted(c.token_ids for c in answers) == sorted(tuple(ids) for batch, _ in rewarded for ids in batch)
    assert all(c.text == decode(tokenizer, c.token_ids) for c in answers)
    assert {c.finish_reason for c in answers if len(c.token_ids) < 6} <= {"stop"}
    known = {scored.group.prompt_token_ids: scored.group for scored in groups}
    for group in spy.shown:
        assert len(group.completions) == 8
        assert group.prompt == known[group.prompt_token_ids].prompt
        assert group.sampling == known[group.prompt_token_ids].sampling
    assert [group.policy_version for group in spy.shown] == [f"base+{step}" for step in range(3) for _ in range(3)]

    for batch in seen:
        for ids, advantage in zip(batch["completion_ids"], batch["advantages"].tolist(), strict=True):
            value = even(int(ids[0]))
            assert advantage == 0 if value is None else (advantage > 0) == (value == 1) or advantage == 0
    assert any(batch["advantages"].abs().sum() > 0 for batch in seen)
    assert update.metrics["update/first_loss"] == pytest.approx(0, abs=1e-5)  # advantages have mean 0, ratios are 1


def test_grpo_stops_at_the_end_of_a_turn(trl_context: RunContext, trl_model: ModelRef, tmp_path: Path) -> None:
    """For TRL the tokenizer's end-of-sequence token alone ends an answer; here it is another than the template's."""
    folder = tmp_path / "model"
    shutil.copytree(trl_model.path, folder)
    tokenizer: Any = load_tokenizer(folder)
    end = tokenizer.eos_token_id
    tokenizer.eos_token = "A"
    tokenizer.save_pretrained(folder)
    GenerationConfig(eos_token_id=None).save_pretrained(folder)
    spy = Spy(even)
    judged = with_judges(replace(trl_context, model=replace(trl_model, folder=folder)), spy)
    grpo(judged, n=16, max_tokens=40).update(prompts(trl_model), parent=None, out=tmp_path / "out", seed=0)
    answers = [c for group in spy.shown for c in group.completions]
    stops = {end, tokenizer.convert_tokens_to_ids("A")}
    assert any(c.token_ids[-1] == end for c in answers)
    for completion in answers:
        assert not stops & set(completion.token_ids[:-1])
        assert (completion.finish_reason == "stop") == (completion.token_ids[-1] in stops)


def test_grpo_makes_good_completions_likelier(trl_context: RunContext, trl_model: ModelRef, tmp_path: Path) -> None:
    groups = prompts(trl_model)
    updater = grpo(with_judges(trl_context, Spy(lambda token: float(token % 2 == 0))), n=16, epochs=8, max_tokens=1)
    base, trained = models(trl_context, updater.update(groups, parent=None, out=tmp_path, seed=0).checkpoint)

    def share_of_even(model: Any) -> float:
        with torch.no_grad():
            rows = [model(torch.tensor([scored.group.prompt_token_ids])).logits[0, -1] for scored in groups]
        return float(torch.stack(rows).softmax(-1)[:, ::2].sum(-1).mean())

    assert share_of_even(trained) > share_of_even(base) + 0.1


def test_grpo_holds_to_its_parent_with_beta(trl_context: RunContext, trl_model: ModelRef, tmp_path: Path) -> None:
    parent = sft(trl_context).update(DEMONSTRATIONS, parent=None, out=tmp_path / "sft", seed=0).checkpoint
    updater = grpo(with_judges(trl_context, Spy(even)), n=8, args={"beta": 0.1})
    update = updater.update(prompts(trl_model), parent=parent, out=tmp_path / "grpo", seed=0)
    assert update.metrics["trl/kl"] == pytest.approx(0, abs=1e-5)  # one step: it is still at the parent


def test_a_first_token_that_the_tokenizer_adds_is_not_doubled(trl_model: ModelRef) -> None:
    tokenizer: Any = load_tokenizer(trl_model.path)
    group = prompts(trl_model)[0].group
    assert prompt_text(tokenizer, group) == "<|im_start|>user\nsay 0 ünïcode<|im_end|>\n<|im_start|>assistant\n"
    mark = group.prompt_token_ids[0]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", mark)]
    )
    assert prompt_text(tokenizer, group).startswith("user")
    assert tuple(tokenizer(prompt_text(tokenizer, group))["input_ids"]) == group.prompt_token_ids


def test_grpo_says_what_is_missing(trl_context: RunContext, trl_model: ModelRef, tmp_path: Path) -> None:
    judged = with_judges(trl_context, Spy(lambda token: 1.0))
    with pytest.raises(ConfigError, match=r"no judge is named.*judges = "):
        grpo(judged, judges=())
    with pytest.raises(ConfigError, match="named twice"):
        grpo(judged, judges=(RewardingJudge(name="spy"), RewardingJudge(name="spy")))
    groups = prompts(trl_model)
    alone = [replace(s, group=replace(s.group, completions=s.group.completions[:1])) for s in groups]
    with pytest.raises(ConfigError, match="one completion a prompt"):
        grpo(judged).update(alone, parent=None, out=tmp_path, seed=0)
    hot = replace(groups[0], group=replace(groups[0].group, sampling=Sampling(temperature=2.0, max_tokens=6)))
    with pytest.raises(HarnessError, match=r"temperature 1.3 and 2.0.*Set"):
        grpo(judged).update([hot, *groups[1:]], parent=None, out=tmp_path, seed=0)
    settled = grpo(judged, temperature=0.7, max_tokens=2, args={"top_p": 0.9}).sampling([hot, *groups[1:]])
    assert settled == Sampling(temperature=0.7, max_tokens=2, top_p=0.9)
    foreign = replace(groups[0], group=replace(groups[0].group, prompt_token_ids=(150, 70)))
    with pytest.raises(HarnessError, match=r"p0.*not tokenized into its token ids again"):
        grpo(judged).update([foreign], parent=None, out=tmp_path, seed=0)
    with pytest.raises(UpdateError, match="no group has signal: in each of 3"):
        grpo(judged).update(groups, parent=None, out=tmp_path, seed=0)
    assert not list(tmp_path.iterdir())
