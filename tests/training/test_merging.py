"""A merged model is the base with its adapter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_families import tiny_model
from tiny_training import tokens, with_lora
from transformers import AutoModelForCausalLM

from harness.errors import AssetError
from harness_plugins.models.merging import merge_adapter


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


def test_what_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "base")
    with pytest.raises(AssetError, match="nowhere"):
        merge_adapter(tmp_path / "nowhere", tmp_path / "base", tmp_path / "out")
    with pytest.raises(AssetError, match="no_adapter"):
        merge_adapter(tmp_path / "base", tmp_path / "no_adapter", tmp_path / "out")
