"""The model of a reward model: made, run over packed rows, and what its checkpoint must hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from transformers import AutoConfig, AutoModelForSequenceClassification

from harness.errors import AssetError, ConfigError
from harness.protocols import RunContext, SequenceBatch, StepTotals
from harness.types import AdapterCheckpoint
from harness_plugins.models.adapters import DTYPES, peft_config, quiet, save_adapter
from harness_plugins.models.packing import Row, lay_out
from harness_plugins.models.shared_prefix import attention_for, attention_mask, compute_dtype, pad, unwrapped
from harness_plugins.models.shared_prefix import why_not_shareable as why_policy_not_shareable
from harness_plugins.models.weights import trains_weights
from harness_plugins.training.processes import processes
from harness_plugins.training.steps import pairs

HEAD = "score"
"""What transformers calls the head of its sequence classifiers."""


def open_reward_model(
    context: RunContext,
    dtype: str,
    *,
    parent: AdapterCheckpoint | None,
    seed: int,
    gradient_checkpointing: bool = False,
) -> Any:
    """The base with a fresh adapter and a fresh head in float32; equal seeds give equal weights.

    Raises ConfigError for an adapter that reward models cannot have, AssetError for a base that has no classifier.
    """
    if parent is not None:
        raise ConfigError(
            f"a reward model starts from the base, not from the policy {parent.version[:12]}",
            where="parent",
            remedy="Train it with --parent base.",
        )
    if processes().num_processes > 1:
        raise ConfigError("a reward model is trained in one process", where="launcher", remedy="Leave --launcher out.")
    if trains_weights(context.adapter):
        raise ConfigError(
            f"{context.adapter['peft_type']} is no adapter, and a reward model is an adapter with a head",
            where="adapter",
            remedy="Choose a PEFT type such as LORA.",
        )
    path = context.require_model().path
    transformers.set_seed(seed)
    try:
        with quiet():
            attention = attention_for(AutoConfig.from_pretrained(path, local_files_only=True))
            base = AutoModelForSequenceClassification.from_pretrained(
                path, num_labels=1, dtype=DTYPES[dtype], attn_implementation=attention, local_files_only=True
            )
    except (OSError, ValueError) as error:
        raise AssetError(f"it has no sequence classifier ({error})", where=str(path)) from error
    if not isinstance(getattr(base, HEAD, None), torch.nn.Module):
        raise AssetError(
            f"its sequence classifier has no head {HEAD!r}", where=str(path), remedy="Choose another base."
        )
    base.to(processes().device)
    base.compute_dtype = DTYPES[dtype]
    if gradient_checkpointing:
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    settings = peft_config({**context.adapter, "task_type": "SEQ_CLS"})
    if settings.is_prompt_learning:
        raise ConfigError(
            f"{context.adapter['peft_type']} puts tokens before the prompt, which reward models here do not read",
            where="adapter",
            remedy="Choose a PEFT type that changes weights, such as LORA.",
        )
    try:
        model = peft.get_peft_model(base, settings)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"PEFT refuses it ({error})", where="adapter") from error
    # The head is trained, and a reward's differences are small: float32, whatever the base computes in.
    getattr(unwrapped(model), HEAD).float().register_forward_pre_hook(lambda module, inputs: (inputs[0].float(),))
    return model


def why_not_shareable(model: Any) -> str:
    """As for a policy, but the head is applied here, so the forward need not take the positions to keep."""
    reason = why_policy_not_shareable(model)
    return "" if reason == "its forward takes no logits_to_keep" else reason


def reward_batch(model: Any, row: Row, totals: StepTotals) -> SequenceBatch:
    """The rewards of a row's completions, each read at the token before its last, which is not read."""
    layout = lay_out(row)
    pad(layout)
    inner = unwrapped(model)
    device = inner.device
    ends_N = torch.tensor(layout.lengths_N, device=device).cumsum(0) - 1
    last_N = torch.tensor(layout.scored_S, device=device)[ends_N]
    with torch.autocast(device.type, torch.bfloat16, enabled=compute_dtype(model) == torch.bfloat16):
        hidden_T_H = inner.base_model(
            input_ids=torch.tensor([layout.token_ids_T], device=device),
            position_ids=torch.tensor([layout.position_ids_T], device=device),
            attention_mask=attention_mask(model, layout, device),
            use_cache=False,
        ).last_hidden_state[0]
    rewards_N = getattr(inner, HEAD)(hidden_T_H[last_N])[:, 0]
    empty_N_0 = rewards_N.new_zeros(len(rewards_N), 0)
    return SequenceBatch(empty_N_0, empty_N_0.bool(), totals, pairs_M_2=pairs(row, device), rewards_N=rewards_N)


def seal_reward_model(context: RunContext, model: Any, out: Path) -> AdapterCheckpoint:
    """The adapter with the head beside it."""
    base = context.require_model().fingerprint
    return save_adapter(model, out, base=base, probe_token_ids=None, kind="reward_model")
