"""Token log-probabilities of a packed row: the prompt is computed once for all its completions."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

from harness_plugins.models import packed_attention
from harness_plugins.models.packed_attention import Spans
from harness_plugins.models.packing import Layout, Row, lay_out
from harness_plugins.models.token_logps import token_logps, token_logps_and_entropies

if TYPE_CHECKING:
    from torch import Tensor

ROW_MULTIPLE, SCORED_MULTIPLE = 64, 32

FULL, SLIDING = "full_attention", "sliding_attention"

MASK_PER_LAYER_TYPE = frozenset({"gemma2", "gemma3_text", "qwen2", "qwen3", "smollm3"})
"""Model types whose forward takes a mask for each type of layer."""

ONE_WINDOW = frozenset({"mistral"})
"""Model types all of whose layers have the config's sliding window, and whose forward takes one mask."""


def attention_for(config: Any) -> str:
    """The attention implementation to load a model with: "sdpa" where it computes what the model was trained with.

    SDPA silently leaves out the soft cap of attention logits (Gemma 2), and some classes refuse it (Mamba).
    """
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    model_class = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return "eager" if capped or (model_class is not None and not model_class._supports_sdpa) else "sdpa"


def without_engine(model: Any) -> Any:
    """The model within the wrapper of a distributed engine."""
    while isinstance(getattr(model, "module", None), torch.nn.Module):
        model = model.module
    return model


def unwrapped(model: Any) -> Any:
    """The transformers model inside engine and adapter, for reading what it is."""
    model = without_engine(model)
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def compute_dtype(model: Any) -> torch.dtype:
    """Of the model's arithmetic: its weights may be held in float32 to be trained."""
    inner = unwrapped(model)
    dtype: torch.dtype = getattr(inner, "compute_dtype", inner.dtype)
    return dtype


def virtual_tokens(model: Any) -> str:
    """The kind of adapter if it trains tokens before the prompt instead of weights, else ""."""
    config = getattr(without_engine(model), "active_peft_config", None)
    return str(config.peft_type.value) if config is not None and config.is_prompt_learning else ""


def why_not_shareable(model: Any) -> str:
    """Why completions of this model cannot share a row, "" if they can.

    They can when every layer is causal softmax attention that takes positions and a block mask from its caller.
    """
    if kind := virtual_tokens(model):
        return f"{kind} puts tokens of its own before each prompt"
    transformer = unwrapped(model)
    config = transformer.config.get_text_config()
    if transformer._is_stateful:
        return "its recurrent layers would carry their state from one completion into the next"
    layer_types = attention_types(config)
    if other := sorted(layer_types - {FULL, SLIDING}):
        return f"layers of type {', '.join(other)} do not follow a block mask"
    if SLIDING in layer_types and config.model_type not in MASK_PER_LAYER_TYPE | ONE_WINDOW:
        return f"it is not known which masks {config.model_type} takes for its sliding-window attention"
    if getattr(config, "use_bidirectional_attention", False):
        return "its attention is not causal"
    if missing := sorted({"position_ids", "attention_mask", "logits_to_keep"} - parameters(model)):
        return f"its forward takes no {', '.join(missing)}"
    if config._attn_implementation not in (packed_attention.NAME, "sdpa", "eager"):
        return f"attention {config._attn_implementation!r} takes no block mask"
    return ""


def attention_types(config: Any) -> set[str]:
    """The types of a text model's layers, under the names of transformers' `layer_types`."""
    if layer_types := getattr(config, "layer_types", None):
        return set(layer_types)
    slides = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    return {SLIDING if slides else FULL}


def parameters(model: Any) -> set[str]:
    """Names that the forward of the transformers model takes."""
    return set(inspect.signature(type(unwrapped(model)).forward).parameters)


def completion_logps(model: Any, row: Row, *, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """`logps_N_T` and `mask_N_T` of `score_completions`, without the entropies."""
    logps_N_T, mask_N_T, _ = score_completions(model, row, temperature=temperature)
    return logps_N_T, mask_N_T


def score_completions(
    model: Any, row: Row, *, temperature: float = 1.0, with_entropy: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """`logps_N_T` (fp32, natural log, 0 where padded), `mask_N_T` and, where asked for, `entropies_N_T` (fp32, nats, 0
    where padded) of the row's N completions, on the model's device.

    log p = log softmax(logits / temperature). The head is applied only to the positions that predict a completion
    token, and their fp32 log-softmax is never held whole.
    Completions of a model for which `why_not_shareable` has a reason are computed one by one.
    """
    if len(row.completions) > 1 and why_not_shareable(model):
        alone = [Row((replace(g, completions=(c,), pairs=()),)) for g in row.groups for c in g.completions]
        scored_N = [score_completions(model, one, temperature=temperature, with_entropy=with_entropy) for one in alone]

        def padded(values_N: Sequence[Tensor]) -> Tensor:
            return pad_sequence([values_1_T[0] for values_1_T in values_N], batch_first=True)

        logps_N, masks_N, entropies_N = zip(*scored_N, strict=True)
        return padded(logps_N), padded(masks_N), padded(entropies_N) if with_entropy else None
    layout = lay_out(row)
    scored = len(layout.scored_S)
    spans = spans_of(row)
    pad(layout)
    device = unwrapped(model).device
    scored_S = torch.tensor(layout.scored_S, device=device)
    target_S = torch.tensor(layout.target_S, device=device)
    # Casting the fp32 adapter weights costs less than computing the adapter in fp32, and loses nothing that the
    # bf16 layers around it would have kept.
    with torch.autocast(device.type, torch.bfloat16, enabled=compute_dtype(model) == torch.bfloat16):
        logits_S_V = scored_logits(model, layout, scored_S, spans)

    def by_completion(values_S: Tensor) -> Tensor:
        return pad_sequence(list(torch.split(values_S[:scored], layout.lengths_N)), batch_first=True)

    if with_entropy:
        logps_N_T, entropies_N_T = map(by_completion, token_logps_and_entropies(logits_S_V, target_S, temperature))
    else:
        logps_N_T, entropies_N_T = by_completion(token_logps(logits_S_V, target_S, temperature)), None
    lengths_N = torch.tensor(layout.lengths_N, device=device)
    mask_N_T = torch.arange(logps_N_T.shape[1], device=device) < lengths_N[:, None]
    return logps_N_T, mask_N_T, entropies_N_T


def pad(layout: Layout) -> None:
    """Fill the row up to a multiple of 64 tokens, its scored positions to one of 32, with what no one looks at.

    Rows of every length leave the allocator with blocks of every size, which it searches longer and longer: without
    this a long update fell from 350 to 200 tokens a second on its way and grew to 6.6 GB; with it 385 and 3.3 GB.
    """
    missing = -len(layout.token_ids_T) % ROW_MULTIPLE
    layout.token_ids_T.extend([0] * missing)
    layout.position_ids_T.extend([0] * missing)
    layout.group_T.extend([-1] * missing)
    layout.segment_T.extend([0] * missing)
    missing = -len(layout.scored_S) % SCORED_MULTIPLE
    layout.scored_S.extend([0] * missing)
    layout.target_S.extend([0] * missing)


def spans_of(row: Row) -> tuple[Spans, ...]:
    """Where `lay_out` puts the row's groups. A lone completion goes on where its prompt ends: they are one."""
    spans, start = [], 0
    for group in row.groups:
        place = start + len(group.prompt_token_ids)
        completions = []
        for completion in group.completions:
            end = place + len(completion.token_ids) - 1
            completions += [slice(place, end)] if end > place else []
            place = end
        if len(completions) == 1:
            spans.append(Spans(slice(start, place), ()))
        else:
            spans.append(Spans(slice(start, start + len(group.prompt_token_ids)), tuple(completions)))
        start = place
    return tuple(spans)


def scored_logits(model: Any, layout: Layout, scored_S: Tensor, spans: Sequence[Spans]) -> Tensor:
    """`logits_S_V` at the scored positions of a row."""
    device = scored_S.device
    inputs = {
        "position_ids": torch.tensor([layout.position_ids_T], device=device),
        "attention_mask": attention_mask(model, layout, device),
        "logits_to_keep": scored_S,
    }
    # A model that takes less than this is given one completion a row, which needs neither positions nor a mask.
    known = {name: value for name, value in inputs.items() if name in parameters(model)}
    ids_1_T = torch.tensor([layout.token_ids_T], device=device)
    if virtual_tokens(model):
        # PEFT makes positions and mask itself, and puts the logits of what it reads first before the others.
        plain: Tensor = model(input_ids=ids_1_T, use_cache=False).logits[0, -len(layout.token_ids_T) :]
        return plain[scored_S]
    if unwrapped(model).config._attn_implementation == packed_attention.NAME:
        known["packed"] = spans  # beside the mask, for layers that are not told of it
    logits: Tensor = model(input_ids=ids_1_T, use_cache=False, **known).logits.squeeze(0)
    return logits if "logits_to_keep" in known else logits[scored_S]


def attention_mask(model: Any, layout: Layout, device: torch.device) -> Tensor | dict[str, Tensor] | None:
    """What the model's forward takes as `attention_mask`: a mask, or one for each type of layer where it has several.

    None for a lone completion: the model's own masks are right for it.
    """
    if len(layout.lengths_N) == 1:
        return None
    config = unwrapped(model).config.get_text_config()
    masks = {}
    for layer_type in sorted(attention_types(config)):
        mask = block_mask(layout, device, window=config.sliding_window if layer_type == SLIDING else None)
        masks[layer_type] = additive(mask, compute_dtype(model)) if config._attn_implementation == "eager" else mask
    return masks if len(masks) > 1 else masks.popitem()[1]


def block_mask(layout: Layout, device: torch.device, *, window: int | None) -> Tensor:
    """Boolean [1, 1, T, T], True where row token i may attend to column token j.

    Within a sliding window they are less than `window` positions apart. Positions restart after the prompt, so that is
    their distance in the completion's own sequence.
    """
    group_T = torch.tensor(layout.group_T, device=device)
    segment_T = torch.tensor(layout.segment_T, device=device)
    visible_T_T = torch.ones(len(group_T), len(group_T), dtype=torch.bool, device=device).tril()
    visible_T_T &= group_T[:, None] == group_T[None, :]
    visible_T_T &= (segment_T[None, :] == 0) | (segment_T[:, None] == segment_T[None, :])
    if window is not None:
        position_T = torch.tensor(layout.position_ids_T, device=device)
        visible_T_T &= position_T[:, None] - position_T[None, :] < window
    return visible_T_T[None, None]


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask as eager attention takes it: 0 where True, the lowest number where False."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
