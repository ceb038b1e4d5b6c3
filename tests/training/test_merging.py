"""A merged model is the base with its adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from tiny_families import tiny_model
from tiny_training import tokens, with_lora
from transformers import AutoModelForCausalLM

from harness.errors import AssetError
from harness_plugins.models.adapters import load_policy
from harness_plugins.models.lora_merge import merged_weights
from harness_plugins.models.merging import _merge_by_peft, merge_adapter


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.3)])
def test_merged_logits_equal_unmerged(tmp_path: Path, dtype: str, tolerance: float) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "tokenizer_config.json").write_text("{}")
    inputs = torch.tensor([tokens(20, 3)])
    bare = model(inputs).logits
    adapted = with_lora(model)
    adapted.save_pretrained(tmp_path / "adapter")
    expected = adapted(inputs).logits

    merge_adapter(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged", dtype=dtype)

    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    assert merged.dtype == getattr(torch, dtype)
    assert (merged(inputs).logits - expected).abs().max() < tolerance
    assert (bare - expected).abs().max() > 1.0  # the adapter matters
    assert (tmp_path / "merged" / "tokenizer_config.json").exists()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "options", [{"target_modules": "all-linear"}, {"use_rslora": True, "lora_alpha": 3}, {"layers_to_transform": [1]}]
)
def test_plain_lora_from_file_to_file_is_what_peft_merges(tmp_path: Path, dtype: str, options: dict[str, Any]) -> None:
    base, adapter = save_pair(
        tmp_path, "llama_tied", **{"target_modules": ["q_proj", "o_proj", "down_proj"], **options}
    )
    assert merged_weights(base, adapter, torch.float32) is not None
    merge_adapter(base, adapter, tmp_path / "ours", dtype=dtype)
    _merge_by_peft(base, adapter, tmp_path / "theirs", dtype)

    ours, theirs = (load_file(tmp_path / side / "model.safetensors") for side in ("ours", "theirs"))
    assert ours.keys() == theirs.keys()
    assert all(ours[name].dtype == theirs[name].dtype and torch.equal(ours[name], theirs[name]) for name in theirs)
    files = {side: {f.name for f in (tmp_path / side).iterdir()} for side in ("ours", "theirs")}
    assert files["ours"] == files["theirs"]
    for name in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "ours" / name).read_text()) == json.loads(
            (tmp_path / "theirs" / name).read_text()
        )


@pytest.mark.parametrize(
    ("family", "options", "merges"),
    [
        ("llama", {"target_modules": ["q_proj"], "use_dora": True}, True),
        ("llama", {"target_modules": ["q_proj"], "rank_pattern": {"q_proj": 2}}, True),
        ("llama", {"target_modules": ["q_proj"], "alpha_pattern": {"q_proj": 2}}, True),
        ("llama", {"target_modules": ["q_proj"], "lora_bias": True}, False),
        ("llama", {"target_modules": ["embed_tokens"]}, True),
        ("llama_tied", {"target_modules": ["q_proj"], "modules_to_save": ["norm"]}, True),
        ("llama_tied", {"target_modules": ["lm_head"]}, False),
        ("gpt2", {"target_modules": ["c_proj"], "fan_in_fan_out": True}, True),
    ],
)
def test_other_lora_is_left_to_peft(tmp_path: Path, family: str, options: dict[str, Any], merges: bool) -> None:
    base, adapter = save_pair(tmp_path, family, **options)
    assert merged_weights(base, adapter, torch.float32) is None
    if not merges:
        return
    merge_adapter(base, adapter, tmp_path / "merged", dtype="float32")
    inputs = torch.tensor([tokens(20, 3)])
    with torch.no_grad():
        expected = load_policy(base, adapter, "float32")(inputs).logits
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()(inputs).logits
    torch.testing.assert_close(merged, expected, atol=1e-3, rtol=0)


def save_pair(folder: Path, family: str, **options: Any) -> tuple[Path, Path]:
    """A base and a LoRA adapter of random weights, saved."""
    model = tiny_model(family)
    model.save_pretrained(folder / "base")
    torch.manual_seed(1)
    get_peft_model(model, LoraConfig(r=4, init_lora_weights=False, **options)).save_pretrained(folder / "adapter")
    return folder / "base", folder / "adapter"


def test_what_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "base")
    with pytest.raises(AssetError, match="nowhere"):
        merge_adapter(tmp_path / "nowhere", tmp_path / "base", tmp_path / "out")
    with pytest.raises(AssetError, match="no_adapter"):
        merge_adapter(tmp_path / "base", tmp_path / "no_adapter", tmp_path / "out")
