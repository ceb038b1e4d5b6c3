"""Every kind of adapter: trained for a few steps, loaded back, served, merged. Used by the tests and the benchmark."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from harness.errors import AssetError
from harness.protocols import RunContext
from harness.types import AdapterCheckpoint, ScoredGroup
from harness_plugins.generators.configs import TransformersConfig
from harness_plugins.generators.transformers_generator import create_transformers
from harness_plugins.models.adapters import load_policy
from harness_plugins.models.merging import merge_adapter
from harness_plugins.updaters.configs import SftConfig
from harness_plugins.updaters.sft import SftUpdater

LINEAR = {"target_modules": "all-linear"}
ATTENTION = {"target_modules": ["q_proj", "v_proj"]}


@dataclass(frozen=True)
class Kind:
    """`[adapter]` settings under a name. `merges` is False where the adapter is not a change of weights."""

    name: str
    settings: Mapping[str, Any]
    quantization: str = "none"
    merges: bool = True
    learning_rate: float = 3e-3


KINDS: Sequence[Kind] = (
    Kind("LoRA", {"peft_type": "LORA", "r": 8, **LINEAR}),
    Kind("rsLoRA", {"peft_type": "LORA", "r": 8, "use_rslora": True, **LINEAR}),
    Kind("DoRA", {"peft_type": "LORA", "r": 8, "use_dora": True, **LINEAR}),
    Kind("QLoRA (nf4)", {"peft_type": "LORA", "r": 8, **LINEAR}, quantization="nf4"),
    Kind("AdaLoRA", {"peft_type": "ADALORA", "init_r": 6, "target_r": 3, "tfinal": 2, **ATTENTION}),
    Kind("LoHa", {"peft_type": "LOHA", "r": 4, **ATTENTION}),
    Kind("LoKr", {"peft_type": "LOKR", "r": 4, **ATTENTION}),
    Kind("VeRA", {"peft_type": "VERA", "r": 8, "target_modules": ["q_proj"]}, learning_rate=3e-2),
    Kind("IA3", {"peft_type": "IA3", "target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]}),
    Kind("OFT", {"peft_type": "OFT", "oft_block_size": 8, "use_cayley_neumann": False, **ATTENTION}),
    Kind("BOFT", {"peft_type": "BOFT", "boft_block_size": 8, **ATTENTION}),
    Kind("HRA", {"peft_type": "HRA", "r": 4, **ATTENTION}),
    Kind("FourierFT", {"peft_type": "FOURIERFT", "n_frequency": 64, **ATTENTION}, learning_rate=0.3),
    Kind("LN tuning", {"peft_type": "LN_TUNING"}),
    Kind("prompt tuning", {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}, merges=False, learning_rate=0.03),
    Kind("p-tuning", {"peft_type": "P_TUNING", "num_virtual_tokens": 4, "encoder_hidden_size": 32}, merges=False),
    Kind("prefix tuning", {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4}, merges=False, learning_rate=0.03),
    Kind("full fine-tuning", {"peft_type": "FULL"}, learning_rate=1e-4),
)


@dataclass(frozen=True)
class Outcome:
    """What a kind did. Differences are the largest between two logits, in fp32, but `served_error`: nats a token."""

    kind: str
    trainable: int
    first_loss: float
    last_loss: float
    loaded_difference: float
    served_error: float
    merged_difference: float | None
    """None where it cannot be merged."""
    refused: str
    """What merging said then."""


def try_kind(kind: Kind, context: RunContext, groups: Sequence[ScoredGroup], *, epochs: int, dtype: str) -> Outcome:
    """Train it on the groups, and look at it in each place that it must reach."""
    context = dataclasses.replace(context, adapter=dict(kind.settings))
    config = SftConfig(
        dtype=dtype,
        quantization=kind.quantization,
        epochs=epochs,
        learning_rate=kind.learning_rate,
        exploding_grad_norm=0,
        save_steps=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        update = SftUpdater(config, context).update(groups, parent=None, out=Path(folder) / "adapter", seed=0)
        checkpoint = update.checkpoint
        assert checkpoint.probe is not None
        merged, refused = merged_difference(context, checkpoint, Path(folder) / "merged")
        return Outcome(
            kind.name,
            int(update.metrics["update/trainable_parameters"]),
            update.metrics["update/first_loss"],
            update.metrics["update/last_loss"],
            loaded_difference(context, checkpoint, dtype),
            served_error(context, checkpoint, dtype),
            merged,
            refused,
        )


def logits(model: Any, ids: Sequence[int]) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([list(ids)])).logits[0, -len(ids) :].float()


def loaded_difference(context: RunContext, checkpoint: AdapterCheckpoint, dtype: str) -> float:
    """Between the log-probs that the trainer saw and those of a fresh process's copy, in nats a token."""
    probe = checkpoint.probe
    assert probe is not None
    model = load_policy(context.require_model().path, checkpoint.path, dtype, quantization=checkpoint.quantization)
    ids = probe.token_ids
    logps = logits(model, ids)[:-1].log_softmax(-1)[range(len(ids) - 1), list(ids[1:])]
    return (logps - torch.tensor(probe.logprobs)).abs().mean().item()


def served_error(context: RunContext, checkpoint: AdapterCheckpoint, dtype: str) -> float:
    assert checkpoint.probe is not None
    with closing(create_transformers(TransformersConfig(dtype=dtype), context)) as generator:
        generator.load_adapter(checkpoint)
        served = generator.score_tokens(checkpoint.probe.token_ids)
    return (torch.tensor(served) - torch.tensor(checkpoint.probe.logprobs)).abs().mean().item()


def merged_difference(context: RunContext, checkpoint: AdapterCheckpoint, out: Path) -> tuple[float | None, str]:
    base = context.require_model().path
    try:
        merge_adapter(base, checkpoint.path, out, dtype="float32")
    except AssetError as error:
        return None, error.what
    assert checkpoint.probe is not None
    ids = checkpoint.probe.token_ids
    unmerged = load_policy(base, checkpoint.path, "float32", quantization=checkpoint.quantization)
    merged = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    return (logits(merged, ids) - logits(unmerged, ids)).abs().max().item(), ""
