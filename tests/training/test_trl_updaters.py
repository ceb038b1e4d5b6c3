"""The updaters that drive TRL: our token ids reach its losses, which start where they must and go the right way."""

from __future__ import annotations

import math
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from tiny import build_tiny_model
from tiny_training import mean_logp, models, scored_group
from tokenizers.processors import TemplateProcessing
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, GenerationConfig, LlamaConfig, LlamaForCausalLM

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    SFTConfig,
    SFTTrainer,
)

from harness.chat import decode, load_tokenizer, render
from harness.checkpoints import open_checkpoint
from harness.errors import ConfigError, HarnessError, UpdateError
from harness.hookspecs import hookimpl
from harness.plugins import Origin, Registry, load_registry
from harness.protocols import ModelRef, RunContext
from harness.specs import JudgeSpec
from harness.types import Completion, Group, Prompt, Sampling, Score, ScoredGroup
from harness_plugins.adapters import load_base, start_adapter
from harness_plugins.configs_training import PreferenceConfig
from harness_plugins.packing import TrainingCompletion, TrainingGroup
from harness_plugins.preference import build_pairs
from harness_plugins.trl.arguments import OWNED
from harness_plugins.trl.configs import (
    JudgeSeat,
    TrlConfig,
    TrlDpoConfig,
    TrlGrpoConfig,
    TrlKtoConfig,
    TrlRewardConfig,
    TrlSftConfig,
)
from harness_plugins.trl.dpo import TrlDpoUpdater
from harness_plugins.trl.grpo import TrlGrpoUpdater
from harness_plugins.trl.judged import prompt_text
from harness_plugins.trl.kto import TrlKtoUpdater, round_robin
from harness_plugins.trl.reward import fit_reward
from harness_plugins.trl.sft import TrlSftUpdater

DEMONSTRATIONS = [scored_group(seed, (1.0, 0.2), logprobs=False, truncated=()) for seed in range(6)]
GROUPS = [scored_group(seed, (1.0, 0.0, 0.5)) for seed in range(4)]
LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": "all-linear"}
IA3 = {"peft_type": "IA3", "target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """The tiny model with its tokenizer, and weights so large that a wrong mask shows."""
    folder = build_tiny_model(tmp_path_factory.mktemp("trl") / "tiny")
    config = LlamaConfig.from_pretrained(folder)
    config.initializer_range = 0.3
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return ModelRef("tiny", folder, "f" * 64)


@pytest.fixture
def context(model: ModelRef) -> RunContext:
    return RunContext(model=model, adapter=LORA)


def sft(context: RunContext, **changes: Any) -> TrlSftUpdater:
    given = {"dtype": "float32", "learning_rate": 1e-2, "batch": 6, "epochs": 6, **changes}
    return TrlSftUpdater(TrlSftConfig(**given), context)


def dpo(context: RunContext, **changes: Any) -> TrlDpoUpdater:
    given = {"dtype": "float32", "learning_rate": 5e-3, "batch": 4, "epochs": 6, **changes}
    return TrlDpoUpdater(TrlDpoConfig(**given), context)


def kto(context: RunContext, **changes: Any) -> TrlKtoUpdater:
    given = {"dtype": "float32", "learning_rate": 5e-3, "batch": 4, "epochs": 6, **changes}
    return TrlKtoUpdater(TrlKtoConfig(**given), context)


Inputs = list[dict[str, Any]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Inputs:
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


def sequences(batch: dict[str, Any], prefix: str = "") -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(prompt, completion) of each row, as TRL's masks cut it."""
    result = []
    for ids, mask, completion in zip(
        batch[prefix + "input_ids"], batch[prefix + "attention_mask"], batch[prefix + "completion_mask"], strict=True
    ):
        length, split = int(mask.sum()), int(mask.sum() - completion.sum())
        assert completion[split:length].all()
        result.append((tuple(ids[:split].tolist()), tuple(ids[split:length].tolist())))
    return result


def margin(model: Any, scored: ScoredGroup, better: int = 0, worse: int = 1) -> float:
    return mean_logp(model, scored, better) - mean_logp(model, scored, worse)


# ---------------------------------------------------------------- sft


def test_sft_starts_at_the_likelihood_of_the_rows_and_learns_them(context: RunContext, tmp_path: Path) -> None:
    update = sft(context).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0)
    base, trained = models(context, update.checkpoint)
    lengths = [len(scored.group.completions[0].token_ids) for scored in DEMONSTRATIONS]
    nll = -sum(mean_logp(base, scored, 0) * length for scored, length in zip(DEMONSTRATIONS, lengths, strict=True))
    assert update.metrics["update/first_loss"] == pytest.approx(nll / sum(lengths), rel=1e-4)
    assert update.metrics["update/last_loss"] < 0.9 * update.metrics["update/first_loss"]
    assert (update.metrics["update/steps"], update.metrics["update/tokens"]) == (6, 6 * sum(lengths))
    assert update.metrics["trl/learning_rate"] == pytest.approx(1e-2)
    for scored in DEMONSTRATIONS:
        assert mean_logp(trained, scored, 0) > mean_logp(base, scored, 0)


def test_sft_trains_on_exactly_the_accepted_ids(seen: Inputs, context: RunContext, tmp_path: Path) -> None:
    cut_off = scored_group(9, (1.0, None), truncated=(0,))
    metrics = sft(context, batch=4, epochs=1).update([*DEMONSTRATIONS, cut_off], parent=None, out=tmp_path, seed=0)
    found = set()
    for batch in seen:
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            assert (ids[labels != -100] == labels[labels != -100]).all()
            answer = tuple(labels[labels != -100].tolist())
            found.add((tuple(ids[: int(mask.sum()) - len(answer)].tolist()), answer))
    groups = [scored.group for scored in DEMONSTRATIONS]
    assert found == {(group.prompt_token_ids, group.completions[0].token_ids) for group in groups}
    counts = [metrics.metrics[f"update/{name}"] for name in ("demonstrations", "below_min_reward", "truncated")]
    assert counts == [6, 6, 1]


# ---------------------------------------------------------------- dpo


@pytest.mark.parametrize("adapter", [None, LORA, IA3], ids=["base", "lora parent", "ia3 parent"])
def test_dpo_starts_at_log_2_from_its_parent(adapter: Any, model: ModelRef, tmp_path: Path) -> None:
    """TRL 1.16 copies no IA3 parameters into its reference, which then is the base."""
    context = RunContext(model=model, adapter=adapter or LORA)
    parent = None
    if adapter is not None:
        parent = sft(context, learning_rate=3e-2).update(DEMONSTRATIONS, parent=None, out=tmp_path / "sft", seed=0)
        base, trained = models(context, parent.checkpoint)
        assert abs(margin(trained, GROUPS[0]) - margin(base, GROUPS[0])) > 0.01  # a wrong reference would show
    checkpoint = parent.checkpoint if parent else None
    update = dpo(context, args={"beta": 0.5}).update(GROUPS, parent=checkpoint, out=tmp_path / "dpo", seed=0)
    assert update.metrics["update/first_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert update.metrics["update/last_loss"] < math.log(2)


def test_dpo_widens_the_margins(context: RunContext, tmp_path: Path) -> None:
    update = dpo(context).update(GROUPS, parent=None, out=tmp_path, seed=0)
    base, trained = models(context, update.checkpoint)
    for scored in GROUPS:
        assert margin(trained, scored) > margin(base, scored)


@pytest.mark.parametrize("pairs", ["best_worst", "all"])
def test_dpo_compares_exactly_our_pairs(pairs: Any, seen: Inputs, context: RunContext, tmp_path: Path) -> None:
    groups = [*GROUPS, scored_group(8, (1.0, 0.0), truncated=(0,))]
    update = dpo(context, pairs=pairs, epochs=1, batch=3).update(groups, parent=None, out=tmp_path, seed=0)
    found = []
    for batch in seen:
        rows = sequences(batch)
        half = len(rows) // 2
        found += [(*chosen, rejected[1]) for chosen, rejected in zip(rows[:half], rows[half:], strict=True)]
        assert [prompt for prompt, _ in rows[:half]] == [prompt for prompt, _ in rows[half:]]
    expected = [
        (group.prompt_token_ids, group.completions[better].token_ids, group.completions[worse].token_ids)
        for group in build_pairs(groups, PreferenceConfig(pairs=pairs)).groups
        for better, worse in group.pairs
    ]
    assert sorted(found) == sorted(expected)
    assert update.metrics["update/pairs"] == len(expected) == (4 if pairs == "best_worst" else 12)


# ---------------------------------------------------------------- kto


@pytest.mark.parametrize("with_parent", [False, True])
def test_kto_starts_at_a_half_and_tells_good_from_bad(with_parent: bool, context: RunContext, tmp_path: Path) -> None:
    parent = None
    if with_parent:
        parent = sft(context).update(DEMONSTRATIONS, parent=None, out=tmp_path / "sft", seed=0).checkpoint
    update = kto(context, args={"beta": 0.5}).update(GROUPS, parent=parent, out=tmp_path / "kto", seed=0)
    assert update.metrics["update/first_loss"] == pytest.approx(0.5, abs=1e-5)
    assert update.metrics["update/last_loss"] < 0.5
    base, trained = models(context, update.checkpoint)
    start = base if parent is None else models(context, parent)[1]
    assert sum(margin(trained, scored) - margin(start, scored) for scored in GROUPS) > 0


def test_kto_weighs_good_and_bad(context: RunContext, tmp_path: Path) -> None:
    groups = [scored_group(seed, (1.0, 0.0, 1.0)) for seed in range(2)]
    weights = {"desirable_weight": 1.5, "undesirable_weight": 0.6}
    update = kto(context, args=weights, batch=6, epochs=1).update(groups, parent=None, out=tmp_path, seed=0)
    assert update.metrics["update/first_loss"] == pytest.approx(0.5 * (4 * 1.5 + 2 * 0.6) / 6, abs=1e-5)


def test_kto_judges_exactly_our_completions_beside_those_of_others(
    seen: Inputs, context: RunContext, tmp_path: Path
) -> None:
    groups = [*GROUPS, scored_group(6, (0.9, None))]  # 13 known: the last would be alone
    update = kto(context, epochs=1).update(groups, parent=None, out=tmp_path, seed=0)
    found = []
    for batch in seen:
        rows, others = sequences(batch), sequences(batch, "KL_")
        found += [(*row, label) for row, label in zip(rows, batch["label"].tolist(), strict=True)]
        answers = [answer for _, answer in rows]
        assert others == [(prompt, answers[i - 1]) for i, (prompt, _) in enumerate(rows)]
        assert all(prompt != rows[i - 1][0] for i, (prompt, _) in enumerate(rows))
    expected = {
        (scored.group.prompt_token_ids, completion.token_ids, reward >= 0.5)
        for scored in groups
        for completion, reward in zip(scored.group.completions, scored.rewards, strict=True)
        if reward is not None
    }
    assert len(found) == len(set(found)) == 12
    assert set(found) < expected
    counts = [update.metrics[f"update/{name}"] for name in ("desirable", "undesirable", "unknown", "left_out")]
    assert counts == [9, 4, 1, 1]


def test_kto_needs_two_prompts_where_it_compares_them(context: RunContext, tmp_path: Path) -> None:
    with pytest.raises(UpdateError, match="there is one prompt"):
        kto(context).update(GROUPS[:1], parent=None, out=tmp_path / "no", seed=0)
    update = kto(context, args={"loss_type": "apo_zero_unpaired"}).update(
        GROUPS[:1], parent=None, out=tmp_path / "yes", seed=0
    )
    assert update.metrics["update/first_loss"] == pytest.approx(0.5, abs=1e-5)


def test_neighbours_have_different_prompts_as_far_as_can_be() -> None:
    groups = [
        TrainingGroup((seed,), tuple(TrainingCompletion((seed, i), desirable=True) for i in range(size)))
        for seed, size in enumerate((1, 3, 3))
    ]
    rows = round_robin(groups, random.Random(0))
    assert sorted(tuple(row["completion_ids"]) for row in rows) == [(0, 0), *[(s, i) for s in (1, 2) for i in range(3)]]
    prompts = [row["prompt_ids"] for row in rows]
    assert all(a != b for a, b in pairwise(prompts))
    firsts = [tuple(round_robin(groups, random.Random(seed))[0]["prompt_ids"]) for seed in range(9)]
    assert len(set(firsts)) == 3


# ---------------------------------------------------------------- grpo


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
    return None if token % 5 == 0 else float(token % 2 == 0)


def with_judges(context: RunContext, spy: Spy) -> RunContext:
    class Plugin:
        @hookimpl
        def harness_register_judges(self) -> list[JudgeSpec]:
            return [JudgeSpec("spy", "For this test", lambda config, context: spy)]

    registry: Registry = load_registry(third_party=False)
    registry.add(Plugin(), Origin("test", "test", "0"))
    return replace(context, components=registry)


def prompts(model: ModelRef, count: int = 3) -> list[ScoredGroup]:
    tokenizer = load_tokenizer(model.path)
    result = []
    for i in range(count):
        prompt = Prompt(f"p{i}", ({"role": "user", "content": f"say {i} ünïcode"},), target=f'{{"number": {i}}}')
        completions = tuple(Completion("", (70 + g, 71)) for g in range(4))
        sampling = Sampling(max_tokens=6, temperature=1.3)
        group = scored_group(1, (0.0,)).group
        group = replace(group, prompt=prompt, prompt_token_ids=tuple(render(tokenizer, prompt)), sampling=sampling)
        result.append(ScoredGroup(replace(group, completions=completions), ((),) * 4, (None,) * 4))
    return result


def grpo(context: RunContext, **changes: Any) -> TrlGrpoUpdater:
    given: dict[str, Any] = {"dtype": "float32", "learning_rate": 1e-2, "judges": (JudgeSeat(name="spy"),), **changes}
    return TrlGrpoUpdater(TrlGrpoConfig(**given), context)


def test_grpo_trains_on_our_verdicts_of_what_it_sampled(
    seen: Inputs, monkeypatch: pytest.MonkeyPatch, context: RunContext, model: ModelRef, tmp_path: Path
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
    spy, groups = Spy(even), prompts(model)
    updater = grpo(with_judges(context, spy), n=8, epochs=3)
    update = updater.update(groups, parent=None, out=tmp_path, seed=0)

    assert {tuple(ids) for ids in asked} == {scored.group.prompt_token_ids for scored in groups}
    assert len(asked) == 3 * 8 * 3
    values = [(ids[0], value) for batch, row in rewarded for ids, value in zip(batch, row, strict=True)]
    assert all(value == even(first) or (math.isnan(value) and even(first) is None) for first, value in values)
    unscored = sum(math.isnan(value) for _, value in values)
    assert 0 < unscored < len(values)
    assert update.metrics["update/unscored"] == unscored
    assert update.metrics["update/completions"] == len(values) == 72

    tokenizer = load_tokenizer(model.path)
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


def test_grpo_stops_at_the_end_of_a_turn(context: RunContext, model: ModelRef, tmp_path: Path) -> None:
    """For TRL the tokenizer's end-of-sequence token alone ends an answer; here it is another than the template's."""
    folder = tmp_path / "model"
    shutil.copytree(model.path, folder)
    tokenizer: Any = load_tokenizer(folder)
    end = tokenizer.eos_token_id
    tokenizer.eos_token = "A"
    tokenizer.save_pretrained(folder)
    GenerationConfig(eos_token_id=None).save_pretrained(folder)
    spy = Spy(even)
    judged = with_judges(replace(context, model=replace(model, path=folder)), spy)
    grpo(judged, n=16, max_tokens=40).update(prompts(model), parent=None, out=tmp_path / "out", seed=0)
    answers = [c for group in spy.shown for c in group.completions]
    stops = {end, tokenizer.convert_tokens_to_ids("A")}
    assert any(c.token_ids[-1] == end for c in answers)
    for completion in answers:
        assert not stops & set(completion.token_ids[:-1])
        assert (completion.finish_reason == "stop") == (completion.token_ids[-1] in stops)


def test_grpo_makes_good_completions_likelier(context: RunContext, model: ModelRef, tmp_path: Path) -> None:
    groups = prompts(model)
    updater = grpo(with_judges(context, Spy(lambda token: float(token % 2 == 0))), n=16, epochs=8, max_tokens=1)
    base, trained = models(context, updater.update(groups, parent=None, out=tmp_path, seed=0).checkpoint)

    def share_of_even(model: Any) -> float:
        with torch.no_grad():
            rows = [model(torch.tensor([scored.group.prompt_token_ids])).logits[0, -1] for scored in groups]
        return float(torch.stack(rows).softmax(-1)[:, ::2].sum(-1).mean())

    assert share_of_even(trained) > share_of_even(base) + 0.1


def test_grpo_holds_to_its_parent_with_beta(context: RunContext, model: ModelRef, tmp_path: Path) -> None:
    parent = sft(context).update(DEMONSTRATIONS, parent=None, out=tmp_path / "sft", seed=0).checkpoint
    updater = grpo(with_judges(context, Spy(even)), n=8, args={"beta": 0.1})
    update = updater.update(prompts(model), parent=parent, out=tmp_path / "grpo", seed=0)
    assert update.metrics["trl/kl"] == pytest.approx(0, abs=1e-5)  # one step: it is still at the parent


def test_a_first_token_that_the_tokenizer_adds_is_not_doubled(model: ModelRef) -> None:
    tokenizer: Any = load_tokenizer(model.path)
    group = prompts(model)[0].group
    assert prompt_text(tokenizer, group) == "<|im_start|>user\nsay 0 ünïcode<|im_end|>\n<|im_start|>assistant\n"
    mark = group.prompt_token_ids[0]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", mark)]
    )
    assert prompt_text(tokenizer, group).startswith("user")
    assert tuple(tokenizer(prompt_text(tokenizer, group))["input_ids"]) == group.prompt_token_ids


def test_grpo_says_what_is_missing(context: RunContext, model: ModelRef, tmp_path: Path) -> None:
    judged = with_judges(context, Spy(lambda token: 1.0))
    with pytest.raises(ConfigError, match=r"no judge is named.*judges = "):
        grpo(judged, judges=())
    with pytest.raises(ConfigError, match="named twice"):
        grpo(judged, judges=(JudgeSeat(name="spy"), JudgeSeat(name="spy")))
    groups = prompts(model)
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


# ---------------------------------------------------------------- all


def updaters(context: RunContext) -> list[tuple[Any, list[ScoredGroup]]]:
    judged = with_judges(context, Spy(even))
    return [
        (sft(context, epochs=2, batch=2), DEMONSTRATIONS),
        (dpo(context, epochs=2, batch=2), GROUPS),
        (kto(context, epochs=2, batch=3), GROUPS),
        (grpo(judged, n=4, groups_per_step=2), prompts(context.require_model())),
    ]


@pytest.mark.parametrize("which", range(4), ids=["sft", "dpo", "kto", "grpo"])
def test_a_seed_gives_one_adapter_whatever_ran_before(which: int, context: RunContext, tmp_path: Path) -> None:
    updater, groups = updaters(context)[which]
    first = updater.update(groups, parent=None, out=tmp_path / "first", seed=1).checkpoint
    before, others = updaters(context)[(which + 1) % 4]
    before.update(others, parent=None, out=tmp_path / "before", seed=5)
    torch.rand(7)
    again = updater.update(groups, parent=None, out=tmp_path / "again", seed=1).checkpoint
    other = updater.update(groups, parent=None, out=tmp_path / "other", seed=2).checkpoint
    assert first.version == again.version != other.version


@pytest.mark.parametrize("which", range(4), ids=["sft", "dpo", "kto", "grpo"])
def test_the_adapter_is_sealed_and_loads(which: int, context: RunContext, tmp_path: Path) -> None:
    updater, groups = updaters(context)[which]
    update = updater.update(groups, parent=None, out=tmp_path, seed=1)
    files = ["adapter_config.json", "adapter_model.safetensors", "checkpoint.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == files  # and no reference adapter
    assert open_checkpoint(tmp_path, base="f" * 64) == update.checkpoint
    base, trained = models(context, update.checkpoint)
    probe = update.checkpoint.probe
    assert probe is not None
    ids = list(probe.token_ids)
    for policy, same in ((trained, True), (base, False)):
        with torch.no_grad():
            logps_T_V = policy(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        gap = (logps_T_V[range(len(ids) - 1), ids[1:]] - torch.tensor(probe.logprobs)).abs().max()
        assert (gap < 1e-4) == same


def test_a_bf16_base_trains(context: RunContext, tmp_path: Path) -> None:
    update = dpo(context, dtype="bfloat16").update(GROUPS, parent=None, out=tmp_path, seed=0)
    assert update.metrics["update/first_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert update.metrics["update/last_loss"] < math.log(2)


def test_settings_reach_trl(context: RunContext, tmp_path: Path) -> None:
    changes = {"lr_scheduler_type": "linear", "warmup_steps": 2, "args": {"gradient_accumulation_steps": 3}}
    update = sft(context, batch=2, epochs=4, **changes).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0)
    assert update.metrics["update/steps"] == 4
    assert update.metrics["trl/learning_rate"] == pytest.approx(1e-2 * (0 + 1 / 2 + 1 + 1 / 2) / 4)


def test_settings_are_those_of_a_hand_written_loop(context: RunContext, tmp_path: Path) -> None:
    """AdamW on the Hugging Face loss of right-padded rows gives the same weights."""
    changes: dict[str, Any] = {"max_grad_norm": 1e-6, "weight_decay": 0.1, "args": {"adam_beta1": 0.8}}
    update = sft(context, epochs=3, **changes).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=3)

    reference = context.require_model()
    start = load_base(reference.path, "float32")
    model = start_adapter(start, context.adapter, parent=None, model=reference, seed=3)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1, betas=(0.8, 0.999), eps=1e-8)
    groups = [scored.group for scored in DEMONSTRATIONS]
    rows = [torch.tensor(group.prompt_token_ids + group.completions[0].token_ids) for group in groups]
    input_ids = pad_sequence(rows, batch_first=True)
    labels = pad_sequence(rows, batch_first=True, padding_value=-100)
    mask = (labels != -100).long()
    for i, group in enumerate(groups):
        labels[i, : len(group.prompt_token_ids)] = -100
    for _ in range(3):
        optimizer.zero_grad()
        model(input_ids=input_ids, attention_mask=mask, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1e-6)  # so far down that Adam's eps shows it
        optimizer.step()

    _, trained = models(context, update.checkpoint)
    found = dict(trained.named_parameters())
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert (found[name] - parameter).abs().max() < 1e-4, name


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ({"betta": 0.2}, r"DPOConfig has no field 'betta'. Did you mean beta"),
        ({"output_dir": "x"}, "'output_dir' cannot be set: the run itself keeps the adapter"),
        ({"learning_rate": 1.0}, "the updater has a setting for it"),
        ({"max_length": 4}, "none is cut off"),
    ],
)
def test_args_are_checked_when_the_updater_is_made(args: dict[str, Any], complaint: str, context: RunContext) -> None:
    with pytest.raises(ConfigError, match=f"trl-dpo args: .*{complaint}"):
        dpo(context, args=args)


@pytest.mark.parametrize("args", [{"loss_type": "no such loss"}, {"pad_to_multiple_of": "no"}])
def test_what_trl_refuses_is_a_config_error(args: dict[str, Any], context: RunContext, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="refuses"):
        dpo(context, args=args).update(GROUPS, parent=None, out=tmp_path, seed=0)
    assert not list(tmp_path.iterdir())


def test_owned_fields_are_fields() -> None:
    classes: list[Any] = [SFTConfig, DPOConfig, KTOConfig, GRPOConfig, RewardConfig]
    assert set(OWNED) <= {name for config in classes for name in config.__dataclass_fields__}


def test_training_that_goes_wrong_is_an_update_error(context: RunContext, tmp_path: Path) -> None:
    for clipped, what in ((1.0, "grad norm|loss"), (0.0, "loss")):  # without clipping there is no norm to look at
        with pytest.raises(UpdateError, match=f"the ({what}) is nan at optimizer step"):
            sft(context, learning_rate=1e30, max_grad_norm=clipped).update(
                DEMONSTRATIONS, parent=None, out=tmp_path, seed=0
            )
    with pytest.raises(UpdateError, match="no weight has changed"):
        sft(context, epochs=1, warmup_steps=5).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0)
    worthless = [scored_group(seed, (0.1, 0.1)) for seed in range(2)]
    for make in (sft, dpo):
        with pytest.raises(UpdateError, match="none of"):
            make(context).update(worthless, parent=None, out=tmp_path, seed=0)
    unknown = [scored_group(seed, (None, None)) for seed in range(2)]
    with pytest.raises(UpdateError, match="no completion of 2 groups"):
        kto(context).update(unknown, parent=None, out=tmp_path, seed=0)
    assert not list(tmp_path.iterdir())


REGISTERED = {"trl-sft": TrlSftUpdater, "trl-dpo": TrlDpoUpdater, "trl-kto": TrlKtoUpdater, "trl-grpo": TrlGrpoUpdater}


@pytest.mark.parametrize("name", REGISTERED)
def test_updaters_are_made_by_name(name: str, context: RunContext) -> None:
    registry = load_registry(third_party=False)
    config = {"judges": [{"name": "exact", "weight": 2}]} if name == "trl-grpo" else {}
    updater = registry.create("updater", name, config, replace(context, components=registry))
    assert isinstance(updater, REGISTERED[name])


def test_without_trl_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, context: RunContext) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    registry = load_registry(third_party=False)
    for name in REGISTERED:
        with pytest.raises(ConfigError, match=r"pip install 'harness-align\[trl\]'"):
            registry.create("updater", name, {}, context)


def test_a_progress_bar_sees_every_step(context: RunContext, tmp_path: Path) -> None:
    from contextlib import contextmanager

    from harness.protocols import SilentProgress

    seen: list[Any] = []

    class Recorder(SilentProgress):
        @contextmanager
        def task(self, description: str, total: float | None = None) -> Iterator[Any]:
            seen.append((description, total))
            yield lambda amount=1, **figures: seen.append((amount, figures["loss"]))

    update = sft(replace(context, progress=Recorder()), epochs=3).update(
        DEMONSTRATIONS, parent=None, out=tmp_path, seed=0
    )
    assert seen[0] == ("update", 3)
    assert [amount for amount, _ in seen[1:]] == [1, 1, 1]
    assert seen[-1][1] == update.metrics["update/last_loss"]


def test_trl_reports_nothing_home(monkeypatch: pytest.MonkeyPatch, context: RunContext, tmp_path: Path) -> None:
    sent: list[Any] = []
    telemetry = sys.modules["huggingface_hub.utils._telemetry"]
    monkeypatch.setattr(telemetry, "_start_telemetry_thread", lambda: None)
    monkeypatch.setattr(telemetry, "_TELEMETRY_QUEUE", SimpleNamespace(put=sent.append))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    sft(context, epochs=1).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0)
    assert not sent
    huggingface_hub.utils.send_telemetry("left as it was")
    assert len(sent) == 1


# ---------------------------------------------------------------- reward


def test_the_reward_model_learns_its_pairs(context: RunContext, model: ModelRef) -> None:
    pairs = build_pairs(GROUPS, PreferenceConfig(pairs="all")).groups
    torch.manual_seed(0)
    base = AutoModelForSequenceClassification.from_pretrained(model.path, num_labels=1, dtype=torch.float32)
    lora = LoraConfig(task_type=TaskType.SEQ_CLS, r=4, target_modules="all-linear", modules_to_save=["score"])
    judge: PeftModel = get_peft_model(base, lora)

    def accuracy() -> float:
        def value(group: TrainingGroup, index: int) -> float:
            ids = torch.tensor([group.prompt_token_ids + group.completions[index].token_ids])
            with torch.no_grad():
                return float(judge.eval()(input_ids=ids).logits)

        right = [value(g, chosen) > value(g, rejected) for g in pairs for chosen, rejected in g.pairs]
        return sum(right) / len(right)

    before = accuracy()
    config: TrlConfig = TrlRewardConfig(dtype="float32", learning_rate=1e-2, epochs=12, batch=4)
    metrics = fit_reward(judge, pairs, config, context, seed=0)
    assert accuracy() > before
    assert accuracy() == 1.0
    assert metrics["update/last_loss"] < metrics["update/first_loss"]
    assert metrics["update/steps"] == 36
    with pytest.raises(UpdateError, match="no pair"):
        fit_reward(judge, [], config, context, seed=0)
