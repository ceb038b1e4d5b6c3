"""Merging plain LoRA from file to file: weight + scale * B A, without building the model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from harness_plugins.models.weights import WEIGHTS, saved_settings

BASE_WEIGHTS = "model.safetensors"

READ = frozenset({"peft_type", "r", "lora_alpha", "use_rslora", "init_lora_weights", "bias"})
"""Fields of a LoRA config by which this file goes."""

TOLD_BY_NAMES = frozenset({"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"})
"""Fields that choose modules: the saved weights have their names."""

WITHOUT_EFFECT = frozenset(
    {"task_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping"}
    | {"lora_dropout", "runtime_config", "megatron_core", "qalora_group_size"}
)
"""Fields that change no weight, or none without another one that has to be off."""


def merged_weights(base: Path, adapter: Path, dtype: torch.dtype) -> dict[str, Tensor] | None:
    """All weights of `base`, in `dtype`, with the adapter's deltas; sums are rounded once. None where the adapter is
    anything but plain LoRA, or the base's one weights file does not hold every weight that it changes as it is.

    The arithmetic is PEFT's own, in fp32, so that the sums are the same bit for bit.
    """
    if not is_whole(base) or not is_plain(settings := saved_settings(adapter)):
        return None
    try:
        weights, factors = load_file(base / BASE_WEIGHTS), load_file(adapter / WEIGHTS)
    except (OSError, SafetensorError):  # PEFT's path says what is wrong with them
        return None
    targets = {name.removesuffix(".lora_A.weight") for name in factors if name.endswith(".lora_A.weight")}
    if {f"{target}.lora_{x}.weight" for target in targets for x in "AB"} != set(factors):
        return None
    scale = settings["lora_alpha"] / (math.sqrt(settings["r"]) if settings.get("use_rslora") else settings["r"])
    for target in targets:
        name = f"{target.removeprefix('base_model.model.')}.weight"
        a_R_I, b_O_R = (factors[f"{target}.lora_{x}.weight"].float() for x in "AB")
        if name not in weights or weights[name].shape != (len(b_O_R), a_R_I.shape[1]):
            return None
        weights[name] = (weights[name].float() + (b_O_R @ a_R_I) * scale).to(dtype)
    return {name: w.to(dtype) if w.is_floating_point() else w for name, w in weights.items()}


def is_plain(settings: Mapping[str, Any]) -> bool:
    """Whether the adapter is weight + scale * B A with one rank and one scale, and was so from its start."""
    others = set(settings) - READ - TOLD_BY_NAMES - WITHOUT_EFFECT
    return (
        settings.get("peft_type") == "LORA"
        and settings.get("bias", "none") == "none"
        and settings.get("init_lora_weights", True) in (True, False, "gaussian")
        and not any(settings[name] for name in others)
    )


def is_whole(base: Path) -> bool:
    """Whether the folder holds its weights in one file and as they are, not quantized."""
    if not (base / BASE_WEIGHTS).exists() or not (base / "config.json").exists():
        return False
    return "quantization_config" not in json.loads((base / "config.json").read_text())
