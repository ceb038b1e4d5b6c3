"""What holds for every TRL updater: seeds, checkpoints, settings, errors, silence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from tiny_training import models, scored_group
from tiny_trl import DEMONSTRATIONS, GROUPS, dpo, kto, sft, updaters
from torch.nn.utils.rnn import pad_sequence
from trl import DPOConfig, GRPOConfig, KTOConfig, RewardConfig, SFTConfig

from harness.checkpoints import open_checkpoint
from harness.errors import ConfigError, UpdateError
from harness.plugins import load_registry
from harness.protocols import RunContext
from harness_plugins.models.adapters import load_base, start_adapter
from harness_plugins.trl.arguments import OWNED
from harness_plugins.trl.dpo import TrlDpoUpdater
from harness_plugins.trl.grpo import TrlGrpoUpdater
from harness_plugins.trl.kto import TrlKtoUpdater
from harness_plugins.trl.sft import TrlSftUpdater


@pytest.mark.parametrize("which", range(4), ids=["sft", "dpo", "kto", "grpo"])
def test_a_seed_gives_one_adapter_whatever_ran_before(which: int, trl_context: RunContext, tmp_path: Path) -> None:
    updater, groups = updaters(trl_context)[which]
    first = updater.update(groups, parent=None, out=tmp_path / "first", seed=1).checkpoint
    before, others = updaters(trl_context)[(which + 1) % 4]
    before.update(others, parent=None, out=tmp_path / "before", seed=5)
    torch.rand(7)
    again = updater.update(groups, parent=None, out=tmp_path / "again", seed=1).checkpoint
    other = updater.update(groups, parent=None, out=tmp_path / "other", seed=2).checkpoint
    assert first.version == again.version != other.version


@pytest.mark.parametrize("which", range(4), ids=["sft", "dpo", "kto", "grpo"])
def test_the_adapter_is_sealed_and_loads(which: int, trl_context: RunContext, tmp_path: Path) -> None:
    updater, groups = updaters(trl_context)[which]
    update = updater.update(groups, parent=None, out=tmp_path, seed=1)
    files = ["adapter_config.json", "adapter_model.safetensors", "checkpoint.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == files  # and no reference adapter
    assert open_checkpoint(tmp_path, base="f" * 64) == update.checkpoint
    base, trained = models(trl_context, update.checkpoint)
    probe = update.checkpoint.probe
    assert probe is not None
    ids = list(probe.token_ids)
    for policy, same in ((trained, True), (base, False)):
        with torch.no_grad():
            logps_T_V = policy(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        gap = (logps_T_V[range(len(ids) - 1), ids[1:]] - torch.tensor(probe.logprobs)).abs().max()
        assert (gap < 1e-4) == same


@pytest.mark.parametrize("which", range(4), ids=["sft", "dpo", "kto", "grpo"])
def test_a_bf16_base_trains(which: int, trl_context: RunContext, tmp_path: Path) -> None:
    """From the loss that it has in fp32, to a smaller one (GRPO's own loss says nothing of that kind)."""
    first = {}
    for dtype in ("float32", "bfloat16"):
        updater, groups = updaters(trl_context, dtype=dtype)[which]
        metrics = updater.update(groups, parent=None, out=tmp_path / dtype, seed=0).metrics
        first[dtype] = metrics["update/first_loss"]
        assert which == 3 or metrics["update/last_loss"] < metrics["update/first_loss"]
    assert first["bfloat16"] == pytest.approx(first["float32"], rel=0.02, abs=0.02)


def test_settings_reach_trl(trl_context: RunContext, tmp_path: Path) -> None:
    changes = {"lr_scheduler_type": "linear", "warmup_steps": 2, "args": {"gradient_accumulation_steps": 3}}
    update = sft(trl_context, batch=2, epochs=4, **changes).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0)
    assert update.metrics["update/steps"] == 4
    assert update.metrics["trl/learning_rate"] == pytest.approx(1e-2 * (0 + 1 / 2 + 1 + 1 / 2) / 4)


def test_settings_are_those_of_a_hand_written_loop(trl_context: RunContext, tmp_path: Path) -> None:
    """AdamW on the Hugging Face loss of right-padded rows gives the same weights."""
    changes: dict[str, Any] = {"max_grad_norm": 1e-6, "weight_decay": 0.1, "args": {"adam_beta1": 0.8}}
    update = sft(trl_context, epochs=3, **changes).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=3)

    reference = trl_context.require_model()
    start = load_base(reference.path, "float32")
    model = start_adapter(start, trl_context.adapter, parent=None, model=reference, seed=3)
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

    _, trained = models(trl_context, update.checkpoint)
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
def test_args_are_checked_when_the_updater_is_made(
    args: dict[str, Any], complaint: str, trl_context: RunContext
) -> None:
    with pytest.raises(ConfigError, match=f"trl-dpo args: .*{complaint}"):
        dpo(trl_context, args=args)


@pytest.mark.parametrize("args", [{"loss_type": "no such loss"}, {"pad_to_multiple_of": "no"}])
def test_what_trl_refuses_is_a_config_error(args: dict[str, Any], trl_context: RunContext, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="refuses"):
        dpo(trl_context, args=args).update(GROUPS, parent=None, out=tmp_path, seed=0)
    assert not list(tmp_path.iterdir())


def test_owned_fields_are_fields() -> None:
    classes: list[Any] = [SFTConfig, DPOConfig, KTOConfig, GRPOConfig, RewardConfig]
    assert set(OWNED) <= {name for config in classes for name in config.__dataclass_fields__}


def test_training_that_goes_wrong_is_an_update_error(trl_context: RunContext, tmp_path: Path) -> None:
    for clipped, what in ((1.0, "grad norm|loss"), (0.0, "loss")):  # without clipping there is no norm to look at
        with pytest.raises(UpdateError, match=f"the ({what}) is nan at optimizer step"):
            sft(trl_context, learning_rate=1e30, max_grad_norm=clipped).update(
                DEMONSTRATIONS, parent=None, out=tmp_path, seed=0
            )
    with pytest.raises(UpdateError, match="no weight has changed"):
        sft(trl_context, epochs=1, warmup_steps=5).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0)
    worthless = [scored_group(seed, (0.1, 0.1)) for seed in range(2)]
    for make in (sft, dpo):
        with pytest.raises(UpdateError, match="none of"):
            make(trl_context).update(worthless, parent=None, out=tmp_path, seed=0)
    unknown = [scored_group(seed, (None, None)) for seed in range(2)]
    with pytest.raises(UpdateError, match="no completion of 2 groups"):
        kto(trl_context).update(unknown, parent=None, out=tmp_path, seed=0)
    assert not list(tmp_path.iterdir())


REGISTERED = {"trl-sft": TrlSftUpdater, "trl-dpo": TrlDpoUpdater, "trl-kto": TrlKtoUpdater, "trl-grpo": TrlGrpoUpdater}


@pytest.mark.parametrize("name", REGISTERED)
def test_updaters_are_made_by_name(name: str, trl_context: RunContext) -> None:
    registry = load_registry(third_party=False)
    config = {"judges": [{"name": "exact", "weight": 2}]} if name == "trl-grpo" else {}
    updater = registry.create("updater", name, config, replace(trl_context, components=registry))
    assert isinstance(updater, REGISTERED[name])


def test_without_trl_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, trl_context: RunContext) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    registry = load_registry(third_party=False)
    for name in REGISTERED:
        with pytest.raises(ConfigError, match=r"pip install 'harness-align\[trl\]'"):
            registry.create("updater", name, {}, trl_context)


def test_a_progress_bar_sees_every_step(trl_context: RunContext, tmp_path: Path) -> None:
    from contextlib import contextmanager

    from harness.protocols import SilentProgress

    seen: list[Any] = []

    class Recorder(SilentProgress):
        @contextmanager
        def task(self, description: str, total: float | None = None) -> Iterator[Any]:
            seen.append((description, total))
            yield lambda amount=1, **figures: seen.append((amount, figures["loss"]))

    update = sft(replace(trl_context, progress=Recorder()), epochs=3).update(
        DEMONSTRATIONS, parent=None, out=tmp_path, seed=0
    )
    assert seen[0] == ("update", 3)
    assert [amount for amount, _ in seen[1:]] == [1, 1, 1]
    assert seen[-1][1] == update.metrics["update/last_loss"]


def test_trl_reports_nothing_home(monkeypatch: pytest.MonkeyPatch, trl_context: RunContext, tmp_path: Path) -> None:
    sent: list[Any] = []
    telemetry = sys.modules["huggingface_hub.utils._telemetry"]
    monkeypatch.setattr(telemetry, "_start_telemetry_thread", lambda: None)
    monkeypatch.setattr(telemetry, "_TELEMETRY_QUEUE", SimpleNamespace(put=sent.append))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    sft(trl_context, epochs=1).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0)
    assert not sent
    huggingface_hub.utils.send_telemetry("left as it was")
    assert len(sent) == 1
