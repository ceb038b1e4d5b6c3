"""An adapter on every linear layer of each family trains, is saved, loads again and merges."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from tiny_families import FAMILIES
from tiny_training import scored_group, tokens
from transformers import AutoModelForCausalLM

from harness.protocols import ModelRef, RunContext
from harness_plugins.models.merging import merge_adapter
from harness_plugins.models.shared_prefix import attention_for
from harness_plugins.objectives.nll import Nll
from harness_plugins.updaters.configs import SftConfig
from harness_plugins.updaters.sft import SftUpdater

DEMONSTRATIONS = [scored_group(seed, (1.0,), logprobs=False) for seed in range(4)]
INPUTS = torch.tensor([tokens(20, 3)])


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_trains_loads_and_merges(
    family: str, model_folders: Callable[[str], Path], context: RunContext, tmp_path: Path
) -> None:
    folder, attention = model_folders(family), attention_for(FAMILIES[family]())

    def load(path: Path) -> Any:
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation=attention).eval()

    ours = dataclasses.replace(context, model=ModelRef(family, folder, "f" * 64))
    config = SftConfig(dtype="float32", epochs=4, learning_rate=1e-2, batch=4)
    update = SftUpdater(config, ours, objective=Nll()).update(DEMONSTRATIONS, parent=None, out=tmp_path / "a", seed=0)
    merge_adapter(folder, update.checkpoint.path, tmp_path / "merged", dtype="float32")

    assert update.metrics["update/shared_prefix"] == 1
    assert update.metrics["update/last_loss"] < update.metrics["update/first_loss"]
    base, merged = load(folder), load(tmp_path / "merged")
    adapted = PeftModel.from_pretrained(load(folder), update.checkpoint.path).eval()
    expected = adapted(INPUTS).logits
    torch.testing.assert_close(merged(INPUTS).logits, expected, atol=1e-4, rtol=1e-4)
    assert (base(INPUTS).logits - expected).abs().max() > 0.1

    adapters = {name.rsplit(".", 1)[-1] for name, module in adapted.named_modules() if hasattr(module, "lora_A")}
    linear = {name.rsplit(".", 1)[-1] for name, module in base.named_modules() if is_linear(module)}
    assert adapters == linear - {"lm_head"}

    tied = base.get_output_embeddings().weight is base.get_input_embeddings().weight
    assert tied == bool(FAMILIES[family]().tie_word_embeddings)
    assert (merged.get_output_embeddings().weight is merged.get_input_embeddings().weight) == tied
    with safe_open(tmp_path / "merged" / "model.safetensors", "pt") as file:
        assert ("lm_head.weight" in file.keys()) != tied  # noqa: SIM118 (a handle is no dict)


def is_linear(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"
