"""Any kind of adapter trains, loads back, is served, and merges without a difference, or says that it cannot."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_kinds import KINDS, Kind, try_kind
from safetensors.torch import load_file
from tiny import build_tiny_model
from tiny_training import assert_same_gradients, gradients, scored_group, with_lora
from transformers import AutoModelForCausalLM

from harness.errors import AssetError, ConfigError
from harness.plugins import load_registry
from harness.protocols import ModelRef, RunContext
from harness_plugins.models.adalora import PLANNED_LATER
from harness_plugins.models.adapters import load_base, load_policy
from harness_plugins.models.weights import load_weights
from harness_plugins.updaters.configs import SftConfig
from harness_plugins.updaters.sft import SftUpdater

GROUPS = [scored_group(i, (1.0,)) for i in range(8)]
MERGED, LOADED = 1e-3, 1e-4


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    # The 4-bit kernels of the CPU want rows of at least 64.
    path = build_tiny_model(tmp_path_factory.mktemp("model"), hidden_size=128)
    return RunContext(model=ModelRef("tiny", path, "f" * 64), components=load_registry())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_trains_loads_serves_and_merges(kind: Kind, context: RunContext) -> None:
    outcome = try_kind(kind, context, GROUPS, epochs=6, dtype="float32")
    assert outcome.trainable > 0
    assert outcome.last_loss < outcome.first_loss
    # The kernel of a 4-bit product computes in bf16; served, the same weights are multiplied in fp32.
    rounding = LOADED if kind.quantization == "none" else 0.02
    assert outcome.loaded_difference < rounding
    assert outcome.served_error < rounding
    if kind.merges:
        assert outcome.merged_difference is not None
        assert outcome.merged_difference < MERGED
    else:
        assert "cannot be merged" in outcome.refused


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_goes_on_from_its_own_parent(kind: Kind, context: RunContext, tmp_path: Path) -> None:
    """With another number of steps than before; only what keeps no encoder refuses."""
    context = dataclasses.replace(context, adapter=dict(kind.settings))
    settings = {"dtype": "float32", "quantization": kind.quantization, "learning_rate": kind.learning_rate}
    first = SftUpdater(SftConfig(epochs=4, **settings), context).update(GROUPS, parent=None, out=tmp_path / "a", seed=0)
    again = SftUpdater(SftConfig(epochs=5, **settings), context)
    if kind.name == "p-tuning":
        with pytest.raises(ConfigError, match="keeps the tokens that its encoder made"):
            again.update(GROUPS, parent=first.checkpoint, out=tmp_path / "b", seed=0)
        return
    second = again.update(GROUPS, parent=first.checkpoint, out=tmp_path / "b", seed=0)
    assert second.metrics["update/first_loss"] == pytest.approx(first.metrics["update/last_loss"], rel=0.1)
    assert second.metrics["update/last_loss"] < second.metrics["update/first_loss"]


def test_ranks_are_allocated_by_adalora(context: RunContext, tmp_path: Path) -> None:
    """From 6 ranks a layer to a budget of 3, by PEFT's own count of what is left; without its calls 6 would stay."""
    settings = {
        "peft_type": "ADALORA",
        "init_r": 6,
        "target_r": 3,
        "tinit": 2,
        "tfinal": 4,
        "target_modules": ["q_proj", "v_proj"],
    }
    config = SftConfig(dtype="float32", epochs=12, learning_rate=5e-3, batch=4)
    update = SftUpdater(config, dataclasses.replace(context, adapter=settings)).update(
        GROUPS, parent=None, out=tmp_path / "adalora", seed=0
    )
    saved = json.loads((update.checkpoint.path / "adapter_config.json").read_text())
    kept = [sum(mask) for mask in saved["rank_pattern"].values()]
    assert sum(kept) == 3 * len(kept) == 12
    ranks = [
        len(w) for n, w in load_file(update.checkpoint.path / "adapter_model.safetensors").items() if "lora_E" in n
    ]
    assert sorted(ranks) == sorted(kept)
    assert saved["total_step"] == 24 != PLANNED_LATER


def test_factors_of_adalora_are_not_rounded_to_the_dtype_of_the_base(context: RunContext, tmp_path: Path) -> None:
    settings = {"peft_type": "ADALORA", "init_r": 6, "target_r": 3, "tfinal": 4, "target_modules": ["q_proj", "v_proj"]}
    config = SftConfig(epochs=12, learning_rate=5e-3, batch=4)
    SftUpdater(config, dataclasses.replace(context, adapter=settings)).update(GROUPS, parent=None, out=tmp_path, seed=0)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert any(not torch.equal(w, w.bfloat16().float()) for w in saved.values())
    model = load_policy(context.require_model().path, tmp_path, "bfloat16")
    loaded = {name.replace(".default", ""): p for name, p in model.named_parameters()}
    assert all(torch.equal(loaded[name], weight) for name, weight in saved.items())


@pytest.mark.parametrize(
    ("adapter", "config", "message"),
    [
        ({"peft_type": "BITFIT"}, {}, "BITFIT trains biases, and LlamaForCausalLM has none"),
        ({"peft_type": "FULL", "r": 3}, {}, "FULL has no field 'r'"),
        ({"peft_type": "FULL"}, {"quantization": "nf4"}, "FULL trains the weights that quantization = 'nf4' freezes"),
        ({"peft_type": "FUL"}, {}, "'FUL' is unknown"),
        ({"peft_type": "ADALORA", "target_modules": ["q_proj"]}, {"early_stopping": "loss"}, "cannot stop early"),
        ({"peft_type": "ADALORA", "tinit": 9, "target_modules": ["q_proj"]}, {"epochs": 1}, "to allocate ranks in"),
    ],
)
def test_what_cannot_be_is_refused(
    context: RunContext, tmp_path: Path, adapter: dict[str, Any], config: dict[str, Any], message: str
) -> None:
    updater = SftUpdater(SftConfig(dtype="float32", batch=4, **config), dataclasses.replace(context, adapter=adapter))
    with pytest.raises(ConfigError, match=message):
        updater.update(GROUPS, parent=None, out=tmp_path / "out", seed=0)


def test_biases_are_trained_where_there_are_any(model_folders: Callable[[str], Path], tmp_path: Path) -> None:
    path = model_folders("gpt2")
    context = RunContext(
        model=ModelRef("gpt2", path, "f" * 64), adapter={"peft_type": "BITFIT"}, components=load_registry()
    )
    config = SftConfig(dtype="float32", epochs=5, learning_rate=1e-2)
    update = SftUpdater(config, context).update(GROUPS, parent=None, out=tmp_path / "bitfit", seed=0)
    assert update.metrics["update/last_loss"] < update.metrics["update/first_loss"]
    saved = load_file(update.checkpoint.path / "adapter_model.safetensors")
    assert all(name.endswith(".bias") for name in saved)
    assert len(saved) > 10


def test_full_weights_go_on_from_their_parent(context: RunContext, tmp_path: Path) -> None:
    context = dataclasses.replace(context, adapter={"peft_type": "FULL"})
    config = SftConfig(dtype="float32", epochs=3, learning_rate=1e-3)
    first = SftUpdater(config, context).update(GROUPS, parent=None, out=tmp_path / "a", seed=0)
    second = SftUpdater(config, context).update(GROUPS, parent=first.checkpoint, out=tmp_path / "b", seed=0)
    assert second.metrics["update/first_loss"] == pytest.approx(first.metrics["update/last_loss"], rel=0.2)
    assert second.metrics["update/last_loss"] < first.metrics["update/last_loss"]


def test_a_quantized_base_is_not_changed_for_another(context: RunContext, tmp_path: Path) -> None:
    context = dataclasses.replace(context, adapter={"peft_type": "LORA", "r": 4, "target_modules": "all-linear"})
    nf4 = SftConfig(dtype="float32", quantization="nf4", learning_rate=3e-3)
    first = SftUpdater(nf4, context).update(GROUPS, parent=None, out=tmp_path / "a", seed=0)
    assert first.checkpoint.quantization == "nf4"
    with pytest.raises(ConfigError, match="trained on a base with quantization 'nf4'"):
        SftUpdater(SftConfig(dtype="float32"), context).update(
            GROUPS, parent=first.checkpoint, out=tmp_path / "b", seed=0
        )


def test_gradients_pass_through_a_quantized_base(context: RunContext) -> None:
    """After a pass without gradients (a reference, a probe) they are still those of the same weights unpacked."""
    path = context.require_model().path
    ids = torch.arange(5, 45)[None]
    found = {}
    for name, unpacked in (("nf4", False), ("plain", True)):
        base = load_base(path, "float32", quantization="nf4")
        model = with_lora(base.dequantize().float() if unpacked else base).eval()
        with torch.no_grad():
            model(ids)
        logits = model(ids).logits.float()
        torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:]).backward()
        found[name] = gradients(model)
    assert_same_gradients(found["nf4"], found["plain"], 1e-3)


def test_weights_of_another_architecture_are_named(
    context: RunContext, model_folders: Callable[[str], Path], tmp_path: Path
) -> None:
    whole = dataclasses.replace(context, adapter={"peft_type": "FULL"})
    update = SftUpdater(SftConfig(dtype="float32"), whole).update(GROUPS, parent=None, out=tmp_path / "a", seed=0)
    with pytest.raises(AssetError, match="is not one of GPT2LMHeadModel"):
        load_weights(AutoModelForCausalLM.from_pretrained(model_folders("gpt2")), update.checkpoint.path)
