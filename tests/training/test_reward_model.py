"""Reward models: trained on pairs, used as a judge."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import build_tiny_model, write_suite
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from harness import assets, plan_loop
from harness.checkpoints import open_checkpoint, seal_checkpoint
from harness.errors import AssetError, ConfigError, HarnessError, StoreError, UpdateError
from harness.judging import judges_fingerprint
from harness.plugins import load_registry
from harness.protocols import JudgeUse, ModelRef, RunContext, SilentProgress, StepTotals
from harness.training_data import file_groups
from harness.types import ScoredGroup
from harness_judges.reward_model import RewardModelJudge
from harness_judges.settings import RewardModelConfig as JudgeConfig
from harness_plugins.models.packing import Row
from harness_plugins.updaters.configs import RewardModelConfig, SftConfig
from harness_plugins.updaters.reward_model import RewardModelUpdater
from harness_plugins.updaters.sft import SftUpdater

ADAPTER = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": "all-linear"}
SETTINGS: dict[str, Any] = {"dtype": "float32", "groups_per_step": 4, "epochs": 10, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    path = build_tiny_model(tmp_path_factory.mktemp("model"))
    return assets.model(str(path), SilentProgress())


@pytest.fixture(scope="module")
def context(model: ModelRef) -> RunContext:
    return RunContext(model=model, adapter=ADAPTER, components=load_registry())


@pytest.fixture(scope="module")
def groups(context: RunContext, tmp_path_factory: pytest.TempPathFactory) -> list[ScoredGroup]:
    """The better answer is the one that ends with a bang."""
    file = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [
        {"prompt": f"say {w}", "chosen": f"{w}!", "rejected": f"{w}."}
        for w in ["red", "green", "blue", "pink", "tan", "gray"]
    ]
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return file_groups(file, context)


@pytest.fixture(scope="module")
def trained(
    context: RunContext, groups: list[ScoredGroup], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, float]]:
    out = tmp_path_factory.mktemp("reward") / "model"
    update = RewardModelUpdater(RewardModelConfig(**SETTINGS), context).update(groups, parent=None, out=out, seed=0)
    (out / "training.json").write_text(json.dumps({"model": {"name": str(context.require_model().path)}}))
    return out, dict(update.metrics)


def test_packed_rewards_are_those_of_each_answer_alone(context: RunContext, groups: list[ScoredGroup]) -> None:
    """Against transformers' own classifier, which reads the last token of one plain sequence."""
    updater = RewardModelUpdater(RewardModelConfig(dtype="float32"), context)
    model = updater.open(parent=None, seed=0)
    selection = updater.select(groups)
    totals = StepTotals(sequences=1, tokens=1, max_tokens=1, pairs=6)
    packed = updater.batch(model, Row(selection.groups), totals, 1.0).rewards_N
    assert packed is not None
    model.config.pad_token_id = -1  # the tokenizer pads with the token that ends an answer, and it must be read
    alone = []
    for scored in groups:
        for completion in scored.group.completions:
            ids = torch.tensor([scored.group.prompt_token_ids + completion.token_ids])
            alone.append(model(ids).logits[0, 0])
    torch.testing.assert_close(packed, torch.stack(alone), rtol=1e-4, atol=1e-5)
    assert packed.std() > 1e-4


def test_pairs_are_learnt_from_chance(trained: tuple[Path, dict[str, float]]) -> None:
    _, metrics = trained
    assert metrics["update/first_loss"] == pytest.approx(0.6931, abs=0.05)
    assert metrics["update/last_loss"] < 0.3
    assert metrics["objective/accuracy"] > 0.8
    assert metrics["update/pairs"] == 6


def test_the_judge_gives_what_the_trained_model_gives(
    trained: tuple[Path, dict[str, float]], context: RunContext, groups: list[ScoredGroup]
) -> None:
    path, _ = trained
    judge = RewardModelJudge(JudgeConfig(path=path, dtype="float32", batch=3), context)
    verdicts = judge.score([scored.group for scored in groups])
    assert all(better.value > worse.value for better, worse in verdicts)  # type: ignore[operator]

    base = AutoModelForSequenceClassification.from_pretrained(context.require_model().path, num_labels=1)
    base.config.pad_token_id = -1
    plain = peft.PeftModel.from_pretrained(base, path).eval()
    for scored, scores in zip(groups, verdicts, strict=True):
        for completion, score in zip(scored.group.completions, scores, strict=True):
            ids = torch.tensor([scored.group.prompt_token_ids + completion.token_ids])
            expected = torch.sigmoid(plain(ids).logits[0, 0]).item()
            assert score.value == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_trls_trainer_makes_the_same_kind_of_judge(
    dtype: str, context: RunContext, groups: list[ScoredGroup], tmp_path: Path
) -> None:
    settings = {"dtype": dtype, "epochs": 8, "learning_rate": 3e-3, "batch": 6}
    updater = load_registry().create("updater", "trl-reward", settings, context)
    update = updater.update(groups, parent=None, out=tmp_path / "trl", seed=0)
    assert update.metrics["trl/accuracy"] > 0.7
    assert (update.metrics["update/pairs"], update.metrics["update/steps"]) == (6, 8)
    path = update.checkpoint.path
    judge = RewardModelJudge(JudgeConfig(path=path, base=str(context.require_model().path), dtype=dtype), context)
    losses = []
    for better, worse in judge.score([scored.group for scored in groups]):
        odds = [math.log(score.value / (1 - score.value)) for score in (better, worse)]  # type: ignore[operator]
        losses.append(math.log1p(math.exp(odds[1] - odds[0])))
    # The judge reads the token that TRL trained the head on, or this would not go on where the training ended.
    assert sum(losses) / len(losses) < update.metrics["update/last_loss"]


def test_a_whole_classifier_is_a_judge_too(
    context: RunContext, groups: list[ScoredGroup], tmp_path: Path, model: ModelRef
) -> None:
    for labels, folder in ((1, tmp_path / "one"), (2, tmp_path / "two")):
        torch.manual_seed(0)
        AutoModelForSequenceClassification.from_pretrained(model.path, num_labels=labels).save_pretrained(folder)
        AutoTokenizer.from_pretrained(model.path).save_pretrained(folder)
    verdicts = RewardModelJudge(JudgeConfig(path=tmp_path / "one"), context).score([groups[0].group])
    assert all(0 < score.value < 1 for score in verdicts[0])  # type: ignore[operator]
    with pytest.raises(AssetError, match="2 labels"):
        RewardModelJudge(JudgeConfig(path=tmp_path / "two"), context)


def test_a_missing_head_is_named(
    trained: tuple[Path, dict[str, float]], context: RunContext, tmp_path: Path, model: ModelRef
) -> None:
    path, _ = trained
    (tmp_path / "training.json").write_bytes((path / "training.json").read_bytes())
    (tmp_path / "adapter_config.json").write_bytes((path / "adapter_config.json").read_bytes())
    weights = {name: w for name, w in load_file(path / "adapter_model.safetensors").items() if "score" not in name}
    save_file(weights, tmp_path / "adapter_model.safetensors", metadata={"format": "pt"})
    seal_checkpoint(tmp_path, base=model.fingerprint, probe=None, kind="reward_model")
    with pytest.raises(AssetError, match="has no head"):
        RewardModelJudge(JudgeConfig(path=tmp_path), context)


def test_a_reward_model_is_no_policy_and_a_policy_no_reward_model(
    trained: tuple[Path, dict[str, float]], context: RunContext, groups: list[ScoredGroup], tmp_path: Path
) -> None:
    path, _ = trained
    with pytest.raises(StoreError, match="this is a reward model, not a policy"):
        open_checkpoint(path)
    policy = SftUpdater(SftConfig(dtype="float32"), context).update(groups, parent=None, out=tmp_path / "p", seed=0)
    with pytest.raises(StoreError, match="this is a policy, not a reward model"):
        RewardModelJudge(JudgeConfig(path=policy.checkpoint.path, base=str(context.require_model().path)), context)
    with pytest.raises(ConfigError, match="starts from the base"):
        RewardModelUpdater(RewardModelConfig(), context).update(
            groups, parent=policy.checkpoint, out=tmp_path / "r", seed=0
        )


@pytest.mark.parametrize(
    ("adapter", "settings", "message"),
    [
        ({"peft_type": "FULL"}, {}, "FULL is no adapter"),
        ({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}, {}, "tokens before the prompt"),
        (ADAPTER, {"quantization": "nf4"}, "quantize the head"),
    ],
)
def test_what_a_reward_model_cannot_be_is_refused(
    context: RunContext,
    groups: list[ScoredGroup],
    tmp_path: Path,
    adapter: dict[str, Any],
    settings: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        RewardModelUpdater(RewardModelConfig(**settings), dataclasses.replace(context, adapter=adapter)).update(
            groups, parent=None, out=tmp_path / "out", seed=0
        )


def test_groups_without_pairs_are_an_error(context: RunContext, groups: list[ScoredGroup], tmp_path: Path) -> None:
    flat = [dataclasses.replace(scored, rewards=(1.0, 1.0)) for scored in groups]
    with pytest.raises(UpdateError, match="two completions to prefer one of"):
        RewardModelUpdater(RewardModelConfig(), context).update(flat, parent=None, out=tmp_path / "out", seed=0)


def test_where_nothing_is_the_judge_says_so(context: RunContext, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a reward model nor"):
        RewardModelJudge(JudgeConfig(path=tmp_path), context)


def test_the_fingerprint_of_the_judge_covers_its_weights(
    trained: tuple[Path, dict[str, float]], tmp_path: Path, model: ModelRef
) -> None:
    registry = load_registry()
    path, _ = trained
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    use = JudgeUse("reward_model", {"path": str(copy)})
    before = judges_fingerprint([use], registry)
    weights = load_file(copy / "adapter_model.safetensors")
    save_file({name: w + 1 for name, w in weights.items()}, copy / "adapter_model.safetensors")
    assert judges_fingerprint([use], registry) != before


def test_a_loop_does_not_train_one_as_its_candidate(tmp_path: Path) -> None:
    model = build_tiny_model(tmp_path / "model")
    suite = write_suite(tmp_path / "letters")
    config = {
        "suite": str(suite),
        "model": str(model),
        "generator": {"name": "transformers"},
        "stages": [{"updater": "reward_model", "prompts": 4, "n": 2}],
    }
    with pytest.raises(HarnessError, match="makes a reward model"):
        plan_loop(config)
