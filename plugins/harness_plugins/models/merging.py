"""Base model and adapter as one plain model folder, for engines that are faster without adapters."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import peft
from safetensors.torch import save_file
from transformers import AutoConfig

from harness.checkpoints import saved_quantization
from harness.errors import AssetError
from harness_plugins.models.adapters import DTYPES, load_policy, quiet
from harness_plugins.models.lora_merge import BASE_WEIGHTS, merged_weights
from harness_plugins.models.memory import release

COMPANIONS = ("tokenizer*", "special_tokens_map.json", "vocab*", "merges.txt", "added_tokens.json", "*.jinja")
"""Files of a model folder that do not change with its weights."""

GENERATION = "generation_config.json"


def merge_adapter(
    base: Path, adapter: Path, out: Path, dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
) -> None:
    """Write the model `base` + `adapter` to the folder `out`: safetensors, config and tokenizer files.

    The delta is added in fp32 and the sum is rounded to `dtype` (bfloat16, float16 or float32) once: merging in bf16
    rounds twice, and a small update can drown in that. Merge onto the base each time, never onto an earlier merge.
    Raises AssetError when either folder cannot be loaded, or the adapter is of a kind that cannot be merged.
    """
    weights = None if saved_quantization(adapter) else merged_weights(base, adapter, DTYPES[dtype])
    if weights is None:
        _merge_by_peft(base, adapter, out, dtype)
    else:
        config = AutoConfig.from_pretrained(base, local_files_only=True)
        config.dtype = DTYPES[dtype]
        config.save_pretrained(out)
        save_file(weights, out / BASE_WEIGHTS, metadata={"format": "pt"})
        if (base / GENERATION).exists():
            shutil.copyfile(base / GENERATION, out / GENERATION)
    del weights
    release()
    for pattern in COMPANIONS:
        for file in base.glob(pattern):
            shutil.copyfile(file, out / file.name)


def _merge_by_peft(base: Path, adapter: Path, out: Path, dtype: str) -> None:
    model = load_policy(base, adapter, "float32", quantization=saved_quantization(adapter))
    if isinstance(model, peft.PeftModel):
        try:
            model = model.merge_and_unload()
        except (ValueError, RuntimeError, AttributeError, NotImplementedError) as error:
            raise AssetError(
                f"the adapter cannot be merged ({error})",
                where=str(adapter),
                remedy="Serve it with the transformers generator, or train a kind that merges, such as LORA.",
            ) from error
    merged = model.to(DTYPES[dtype])
    merged.config.dtype = DTYPES[dtype]
    with quiet():
        merged.save_pretrained(out)
