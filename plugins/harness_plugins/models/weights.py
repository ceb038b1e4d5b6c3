"""Training weights of the model itself, without an adapter beside it: all of them (FULL), or its biases (BITFIT).

The checkpoint is a folder like an adapter's: `adapter_config.json` names the kind, and the safetensors file holds the
trained weights whole, in float32, so that nothing of a small update is lost from round to round.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from harness.errors import AssetError, ConfigError

KINDS = ("FULL", "BITFIT")
"""Values of `peft_type` that are ours and not PEFT's."""

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def trains_weights(settings: Mapping[str, Any]) -> bool:
    return str(settings.get("peft_type", "")).upper() in KINDS


def saved_settings(folder: Path) -> Mapping[str, Any]:
    """The `adapter_config.json` of a checkpoint. Raises AssetError where there is none."""
    try:
        settings: Mapping[str, Any] = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise AssetError(f"no adapter is here ({error})", where=str(folder)) from None
    return settings


def choose_weights(model: Any, settings: Mapping[str, Any]) -> None:
    """Let what the kind trains be trained, and nothing else.

    BitFit is of arXiv:2106.10199. Raises ConfigError for fields that mean nothing here, and for BITFIT on an
    architecture without biases.
    """
    kind = str(settings["peft_type"]).upper()
    if unknown := sorted(set(settings) - {"peft_type"}):
        raise ConfigError(f"{kind} has no field {unknown[0]!r}", where="adapter", remedy="Leave it out.")
    trained = 0
    for name, parameter in model.named_parameters():
        wanted = kind == "FULL" or name.endswith(".bias")
        parameter.requires_grad_(wanted)
        trained += wanted
    if not trained:
        raise ConfigError(
            f"BITFIT trains biases, and {type(model).__name__} has none",
            where="adapter",
            remedy="Choose LN_TUNING, which trains as few weights, or LORA.",
        )


def save_weights(model: Any, folder: Path, settings: Mapping[str, Any]) -> None:
    trained = {n: p.detach().float().cpu().contiguous() for n, p in model.named_parameters() if p.requires_grad}
    save_file(trained, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps({"peft_type": str(settings["peft_type"]).upper()}) + "\n")


@torch.no_grad()
def load_weights(model: Any, folder: Path) -> None:
    """Put the trained weights into `model`. Raises AssetError when they are not of this architecture."""
    parameters = dict(model.named_parameters())
    for name, value in load_file(folder / WEIGHTS).items():
        if name not in parameters or parameters[name].shape != value.shape:
            raise AssetError(
                f"weight {name} {tuple(value.shape)} is not one of {type(model).__name__}",
                where=str(folder),
                remedy="Name the model that it was trained on with --model.",
            )
        parameters[name].copy_(value)
