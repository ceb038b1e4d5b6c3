"""Models and PEFT adapters: load, start, save, probe."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_layers import GradientCheckpointingLayer

from harness.checkpoints import seal_checkpoint
from harness.errors import AssetError, ConfigError, HarnessError, did_you_mean
from harness.protocols import ModelRef
from harness.types import AdapterCheckpoint, CheckpointKind, Probe
from harness_plugins.models import packed_attention
from harness_plugins.models.adalora import PLANNED_LATER, adalora_config, restore_factors
from harness_plugins.models.shared_prefix import attention_for, compute_dtype, unwrapped
from harness_plugins.models.token_logps import token_logps
from harness_plugins.models.weights import (
    KINDS,
    choose_weights,
    load_weights,
    save_weights,
    saved_settings,
    trains_weights,
)

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}

PROBE_TOKENS = 512
"""Length of a probe: enough to tell two adapters apart, short enough to cost nothing."""


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no advice from transformers: the run has its own display. Errors still show."""
    chatty: Any = transformers.utils.logging
    bars, level = chatty.is_progress_bar_enabled(), chatty.get_verbosity()
    chatty.disable_progress_bar()
    chatty.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        chatty.set_verbosity(level)
        if bars:
            chatty.enable_progress_bar()


def load_base(path: Path, dtype: str, *, quantization: str = "", device: Any = "cpu") -> Any:
    """The model in that folder, with an attention that computes what it was trained with.

    Raises AssetError when it cannot be loaded.
    `quantization="nf4"` holds its linear layers in 4 bits with double quantization, and computes in `dtype` (QLoRA,
    arXiv:2305.14314, section 3). Raises ConfigError where bitsandbytes is missing.
    """
    options: dict[str, Any] = {"dtype": DTYPES[dtype], "local_files_only": True}
    if quantization:
        options |= {"quantization_config": _nf4(DTYPES[dtype]), "device_map": {"": device}}
    try:
        with quiet():
            options["attn_implementation"] = attention_for(AutoConfig.from_pretrained(path, local_files_only=True))
            model = AutoModelForCausalLM.from_pretrained(path, **options)
    except (OSError, ValueError) as error:
        raise AssetError(f"the model cannot be loaded ({error})", where=str(path)) from error
    if quantization:
        keep_differentiable(model)
    else:
        model = model.to(device)
    if model.config._attn_implementation == "sdpa" and model.device.type == "cpu":
        model.set_attn_implementation(packed_attention.NAME)
    return model


def keep_differentiable(model: Any) -> None:
    """Let gradients pass through quantized layers, whatever was computed with them before.

    On CPUs with AVX512-BF16 bitsandbytes repacks a layer's weights in its first pass without gradients (a reference, a
    probe), and from then on none passes through it: what lies below would be trained wrongly, without an error.
    """
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _nf4(compute: torch.dtype) -> Any:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            "quantization = 'nf4' needs bitsandbytes, which is not installed",
            where="updater",
            remedy="pip install 'harness-align[qlora]'",
        )
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


def load_policy(base: Path, folder: Path, dtype: str, *, quantization: str = "", device: Any = "cpu") -> Any:
    """The base model with what is saved in `folder`, for computing only. An adapter that was trained on a quantized
    base is put on that base as it was then, but held in `dtype`: elsewhere it would be another policy.

    Raises AssetError when either cannot be loaded.
    """
    model = load_base(base, dtype if not quantization else "bfloat16", quantization=quantization)
    if quantization:
        with quiet():
            model = model.dequantize().to(DTYPES[dtype])  # before its first forward pass, which repacks the weights
    return attach(model, folder).to(device).eval()


def attach(base: Any, folder: Path, *, trainable: bool = False) -> Any:
    """`base` with the adapter in `folder`, or with the weights in it that were trained whole."""
    settings = saved_settings(folder)
    if trains_weights(settings):
        load_weights(base, folder)
        if trainable:
            choose_weights(base, settings)
        return base
    try:
        if trainable and (config := peft.PeftConfig.from_pretrained(str(folder))).is_prompt_learning:
            return _go_on_with_tokens(base, config, folder)
        model = peft.PeftModel.from_pretrained(base, folder, is_trainable=trainable, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise AssetError(
            f"the adapter cannot be loaded ({reason})",
            where=str(folder),
            remedy="Give a PEFT adapter folder with safetensors.",
        ) from error
    if adalora_config(model):
        restore_factors(model, peft.load_peft_weights(str(folder), device="cpu"))
    return model


def _go_on_with_tokens(base: Any, config: Any, folder: Path) -> Any:
    """PEFT loads virtual tokens for computing only. Raises ConfigError where an encoder made them: it is not kept."""
    if isinstance(config, peft.PromptEncoderConfig) or getattr(config, "prefix_projection", False):
        raise ConfigError(
            f"{config.peft_type.value} keeps the tokens that its encoder made and not the encoder, so it cannot go on",
            where=str(folder),
            remedy="Start anew from the base, or choose PROMPT_TUNING or PREFIX_TUNING without projection.",
        )
    config.inference_mode = False
    model = peft.get_peft_model(base, config)
    peft.set_peft_model_state_dict(model, peft.load_peft_weights(str(folder), device="cpu"))
    return model


def start_adapter(
    base: Any, settings: Mapping[str, Any], *, parent: AdapterCheckpoint | None, model: ModelRef, seed: int
) -> Any:
    """`base` with a trainable adapter: the parent's, or where there is none a new one from `settings`. For kinds that
    train the model's own weights it is `base` itself.

    `settings` is a PEFT config, its own fields and `peft_type`; equal seeds give equal weights. Raises ConfigError
    where they make no usable adapter, and HarnessError when the parent was trained on another model.
    """
    if parent is None and trains_weights(settings):
        choose_weights(base, settings)
        return base
    if parent is None:
        return new_adapter(base, peft_config(settings), seed=seed)
    if parent.base != model.fingerprint:
        made_for, given = parent.base[:12], model.fingerprint[:12]
        raise HarnessError(
            f"the parent adapter belongs to another model (fingerprint {made_for}, not {given})",
            where=str(parent.path),
            remedy=f"Train from an adapter of {model.name}, or from none.",
        )
    return attach(base, parent.path, trainable=True)


def new_adapter(base: Any, config: peft.PeftConfig, *, seed: int) -> peft.PeftModel:
    """A fresh adapter. Raises ConfigError when PEFT refuses it, or when starting it rewrites the base model."""
    for setting, harmless in (("modules_to_save", (None, [])), ("bias", ("none",))):
        if getattr(config, setting, harmless[0]) not in harmless:
            raise ConfigError(
                f"{setting} = {getattr(config, setting)!r} trains weights of the base itself, so switching the adapter "
                "off would not give the base back",
                where="adapter",
                remedy=f"Leave {setting} out.",
            )
    transformers.set_seed(seed)
    before = _fingerprint(base)
    try:
        model: peft.PeftModel = peft.get_peft_model(base, config)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"PEFT refuses it ({error})", where="adapter") from error
    with model.disable_adapter():
        after = _fingerprint(model)
    if not torch.equal(before, after):
        raise ConfigError(
            "this kind of initialization rewrites the base model, so the saved adapter would mean nothing to a "
            "sampler that serves the base, and switching it off would not give the base back",
            where="adapter",
            remedy="Choose another one, such as init_lora_weights = true.",
        )
    return model


@torch.no_grad()
def _fingerprint(model: Any) -> torch.Tensor:
    """Logits of an arbitrary sequence, without dropout."""
    logits: torch.Tensor = model.eval()(input_ids=torch.arange(16, device=model.device)[None], use_cache=False).logits
    return logits


def peft_config(settings: Mapping[str, Any]) -> peft.PeftConfig:
    """The PEFT config of an `[adapter]` table. Raises ConfigError naming the field that is wrong."""
    kinds: dict[str, Any] = {str(kind.value): config for kind, config in peft.PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    fields = dict(settings)
    kind = str(fields.pop("peft_type", "")).upper()
    if kind not in kinds:
        remedy = did_you_mean(kind, [*kinds, *KINDS])
        raise ConfigError(f"peft_type {kind!r} is unknown", where="adapter", remedy=remedy)
    known = list(kinds[kind].__dataclass_fields__)
    for name in fields:
        if name not in known:
            raise ConfigError(f"{kind} has no field {name!r}", where="adapter", remedy=did_you_mean(name, known))
    later = {"total_step": PLANNED_LATER} if kind == "ADALORA" else {}
    try:
        return kinds[kind](**{"task_type": "CAUSAL_LM", **later, **fields})
    except (ValueError, TypeError, ImportError) as error:
        raise ConfigError(f"PEFT refuses it ({error})", where="adapter") from error


def train_mode(model: torch.nn.Module) -> None:
    """Dropout as the adapter's config says, and none in the frozen model: its noise would be in the ratio to the
    policy that sampled. Layers whose activations are recomputed do so only in this mode, which is theirs alone."""
    model.eval()
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.train()
        elif isinstance(module, GradientCheckpointingLayer):
            module.training = module.gradient_checkpointing


def save_adapter(
    model: Any,
    out: Path,
    *,
    base: str,
    probe_token_ids: Sequence[int] | None,
    quantization: str = "",
    kind: CheckpointKind = "policy",
) -> AdapterCheckpoint:
    """Write and seal the adapter, with the model's view of `probe_token_ids` as its probe."""
    if isinstance(model, peft.PeftModel):
        model.save_pretrained(str(out), safe_serialization=True)
        (out / "README.md").unlink(missing_ok=True)  # a model card of blanks
        _make_canonical(out / "adapter_config.json")
    else:
        everything = all(p.requires_grad for p in model.parameters())
        save_weights(model, out, {"peft_type": "FULL" if everything else "BITFIT"})
    seen = probe(model, probe_token_ids) if probe_token_ids else None
    return seal_checkpoint(out, base=base, probe=seen, quantization=quantization, kind=kind)


def _make_canonical(file: Path) -> None:
    """Equal adapters in equal files: PEFT writes sets in the order of this process's hashes, and the base's path."""
    config = json.loads(file.read_text())
    for key, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[key] = sorted(value)
    file.write_text(json.dumps({**config, "base_model_name_or_path": None}, indent=2, sort_keys=True) + "\n")


@torch.no_grad()
def probe(model: Any, token_ids: Sequence[int]) -> Probe:
    """Teacher-forced log-probabilities, at temperature 1, of all of at most 512 tokens but the first."""
    ids = tuple(token_ids[:PROBE_TOKENS])
    model.eval()
    inputs = torch.tensor([ids], device=model.device)
    # Weights that are held in float32 to be trained are computed with, and served, in bf16.
    rounded = unwrapped(model).dtype == torch.float32 and compute_dtype(model) == torch.bfloat16
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=rounded):
        # Adapters with virtual tokens put their logits before those of the sequence.
        logits_T_V = model(input_ids=inputs[:, :-1], use_cache=False).logits[0, -(len(ids) - 1) :]
    logps_T = token_logps(logits_T_V, inputs[0, 1:])
    return Probe(ids, tuple(logps_T.tolist()))
