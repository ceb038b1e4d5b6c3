"""Batched decoding with a transformers model: each prompt is computed once and its cache is shared by its group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from harness.types import Sampling
from harness_plugins.generators.caching import expand
from harness_plugins.generators.constrained import SchemaMatcher
from harness_plugins.generators.sampling import draw
from harness_plugins.models.shared_prefix import FULL, SLIDING, attention_types, parameters, unwrapped, virtual_tokens

COMPACT_BELOW = 0.75
"""Finished rows are computed along until fewer than this share is alive: dropping them copies the cache."""


@dataclass
class Row:
    """A completion being decoded. `slot` says which prompt of the batch it continues, `budget` how long it may get."""

    slot: int
    budget: int
    uniforms_T: np.ndarray
    matcher: SchemaMatcher | None = None
    ids: list[int] = field(default_factory=list)
    logps: list[float] = field(default_factory=list)
    stopped: bool = False

    @property
    def done(self) -> bool:
        return self.stopped or len(self.ids) >= self.budget


def why_not_cached(model: PreTrainedModel | PeftModel) -> str:
    """Why prompts of this model cannot be decoded in one padded batch that starts from shared caches, "" if they can.

    They can when every layer is softmax attention, which skips padding and whose cache is keys and values alone.
    """
    if kind := virtual_tokens(model):
        return f"{kind} puts tokens of its own before each prompt"
    if unwrapped(model)._is_stateful:
        return "its recurrent layers would read the padding"
    if other := sorted(attention_types(model.config.get_text_config()) - {FULL, SLIDING}):
        return f"layers of type {', '.join(other)} would read the padding"
    if missing := sorted({"position_ids", "attention_mask", "past_key_values", "logits_to_keep"} - parameters(model)):
        return f"its forward takes no {', '.join(missing)}"
    return ""


@torch.inference_mode()
def decode_rows(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Sequence[int]],
    rows: list[Row],
    *,
    sampling: Sampling,
    stop_ids: frozenset[int],
    pad_id: int,
    on_done: Callable[[Row], None],
) -> None:
    """Fill every row. `prompts` are the P token sequences that the N rows point into.

    Where `why_not_cached` has a reason, each token takes a forward pass over the whole sequence.
    """
    if why_not_cached(model):
        _decode_plainly(model, prompts, rows, sampling=sampling, stop_ids=stop_ids, on_done=on_done)
        return
    ids_P_L, mask_P_L = _left_pad(prompts, pad_id, model.device)
    positions_P_L = (mask_P_L.cumsum(dim=1) - 1).clamp(min=0)
    out = model(
        input_ids=ids_P_L,
        attention_mask=mask_P_L,
        position_ids=positions_P_L,
        use_cache=True,
        # As an index: for a slice PyTorch multiplies with a copy of the head for each prompt, on CPU half a second.
        logits_to_keep=torch.tensor([-1], device=model.device),
    )
    cache = out.past_key_values
    slots_N = torch.tensor([row.slot for row in rows], device=model.device)
    expand(cache, slots_N)
    mask_N_L, logits_N_V = mask_P_L[slots_N], out.logits[:, -1][slots_N]
    next_position_N = mask_N_L.sum(dim=1)
    tokens_N = torch.full_like(slots_N, pad_id)

    while True:
        live = [i for i, row in enumerate(rows) if not row.done]
        live_M = torch.tensor(live, device=model.device)
        tokens_N[live_M] = _extend([rows[i] for i in live], logits_N_V[live_M], sampling, stop_ids)
        for i in live:
            if rows[i].done:
                on_done(rows[i])
        keep = [i for i in live if not rows[i].done]
        if not keep:
            return
        if len(keep) < COMPACT_BELOW * len(rows):
            keep_M = torch.tensor(keep, device=model.device)
            cache.batch_select_indices(keep_M)
            rows = [rows[i] for i in keep]
            mask_N_L, tokens_N, next_position_N = mask_N_L[keep_M], tokens_N[keep_M], next_position_N[keep_M]
        mask_N_L = torch.cat([mask_N_L, mask_N_L.new_ones(len(rows), 1)], dim=1)
        out = model(
            input_ids=tokens_N[:, None],
            attention_mask=mask_N_L,
            position_ids=next_position_N[:, None],
            past_key_values=cache,
            use_cache=True,
        )
        logits_N_V = out.logits[:, -1]
        next_position_N = next_position_N + 1


def _decode_plainly(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[Row],
    *,
    sampling: Sampling,
    stop_ids: frozenset[int],
    on_done: Callable[[Row], None],
) -> None:
    """Prompt by prompt, so that the sequences of a batch are of one length, and without a cache."""
    for slot, prompt in enumerate(prompts):
        live = [row for row in rows if row.slot == slot]
        while live:
            ids_M_T = torch.tensor([[*prompt, *row.ids] for row in live], device=model.device)
            _extend(live, model(input_ids=ids_M_T, use_cache=False).logits[:, -1], sampling, stop_ids)
            for row in live:
                if row.done:
                    on_done(row)
            live = [row for row in live if not row.done]


def _extend(rows: Sequence[Row], logits_M_V: Tensor, sampling: Sampling, stop_ids: frozenset[int]) -> Tensor:
    """Draw one token for each live row, note it, and return the M tokens."""
    uniforms_M = torch.tensor([row.uniforms_T[len(row.ids)] for row in rows], device=logits_M_V.device)
    tokens_M, logps_M = draw(logits_M_V, uniforms_M, sampling, _allowed(rows, logits_M_V))
    for row, token, logp in zip(rows, tokens_M.tolist(), logps_M.tolist(), strict=True):
        row.ids.append(token)
        row.logps.append(logp)
        row.stopped = token in stop_ids
        if row.matcher is not None and not row.stopped:
            row.matcher.advance(token)
    return tokens_M


def _allowed(rows: Sequence[Row], logits_M_V: Tensor) -> Tensor | None:
    vocab_size = logits_M_V.shape[-1]
    masks = [row.matcher.allowed(vocab_size) for row in rows if row.matcher is not None]
    return torch.from_numpy(np.stack(masks)).to(logits_M_V.device) if masks else None


def _left_pad(prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """ids_P_L and mask_P_L, both int64."""
    longest = max(map(len, prompts))
    ids = [[pad_id] * (longest - len(p)) + list(p) for p in prompts]
    mask = [[0] * (longest - len(p)) + [1] * len(p) for p in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
