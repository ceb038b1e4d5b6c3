"""Causal attention over a packed row on CPUs, without what its block mask leaves out.

A mask makes attention compute all T * T scores of a row and throw most away: tokens of other groups, other completions
of the same prompt, tokens to come. Here each part of a row that is visible is computed by itself: the prompt on the
prompt, all completions on the prompt, each completion on itself. What a completion sees is put together from the
logarithms of the parts' normalizers, which is exact (as in FlashAttention, arXiv:2205.14135, section 3.1).

The forward pass is torch's fused kernel. The backward pass is written out as matrix products, with the probabilities
recomputed from the normalizers (the same paper's algorithm 4): torch's own takes two to three times as long on CPUs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "packed"


@dataclass(frozen=True)
class Spans:
    """Where the tokens of a group are in their row: its prompt, and each completion behind it."""

    prompt: slice
    completions: tuple[slice, ...]

    @property
    def behind(self) -> slice:
        """All completions: they follow each other."""
        return slice(self.completions[0].start, self.completions[-1].stop)


@dataclass(frozen=True)
class Part:
    """Queries that see these keys, all of them or those up to their own place."""

    queries: slice
    keys: slice
    causal: bool


def parts(groups: Sequence[Spans]) -> Iterator[Part]:
    for spans in groups:
        yield Part(spans.prompt, spans.prompt, causal=True)
        if spans.completions:
            yield Part(spans.behind, spans.prompt, causal=False)
            yield from (Part(span, span, causal=True) for span in spans.completions)


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    packed: Sequence[Spans] | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """What transformers calls for each layer's attention. Without `packed`, or where a layer does more than causal
    attention, it is `sdpa` with the mask, which says the same."""
    plain = not (dropout or options.get("sliding_window") or options.get("position_bias") is not None)
    if packed is None or not plain or query.device.type != "cpu":
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )  # type: ignore[return-value]
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    out_H_T_D: Tensor = _PackedAttention.apply(query[0], key[0], value[0], tuple(packed), scale)
    return out_H_T_D.transpose(0, 1)[None], None


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


class _PackedAttention(torch.autograd.Function):
    """query [H, T, D], key and value [K, T, D] with H a multiple of K -> [H, T, D]; 0 where no group has its tokens."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, groups: tuple[Spans, ...], scale: float) -> Tensor:
        heads, tokens, width = query.shape
        out = query.new_zeros(tokens, heads, width).transpose(0, 1)
        normalizer = torch.zeros(heads, tokens, dtype=torch.float32)
        for spans in groups:
            out[:, spans.prompt], normalizer[:, spans.prompt] = _attend(
                query, key, value, Part(spans.prompt, spans.prompt, causal=True), scale
            )
            if spans.completions:
                seen, seen_normalizer = _attend(query, key, value, Part(spans.behind, spans.prompt, False), scale)
                for span in spans.completions:
                    own, own_normalizer = _attend(query, key, value, Part(span, span, causal=True), scale)
                    here = slice(span.start - spans.behind.start, span.stop - spans.behind.start)
                    share = torch.sigmoid(own_normalizer - seen_normalizer[:, here])[..., None]
                    out[:, span] = torch.lerp(seen[:, here].float(), own.float(), share).to(out.dtype)
                    normalizer[:, span] = torch.logaddexp(own_normalizer, seen_normalizer[:, here])
        ctx.save_for_backward(query, key, value, out, normalizer)
        ctx.groups, ctx.scale = groups, scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        (grad_out,) = grads
        query, key, value, out, normalizer = ctx.saved_tensors
        heads, tokens, width = query.shape
        kv_heads = key.shape[0]
        grad_query = torch.zeros(heads, tokens, width)
        grad_key, grad_value = torch.zeros(kv_heads, tokens, width), torch.zeros(kv_heads, tokens, width)
        inner = (grad_out.float() * out.float()).sum(-1)

        def rows(values: Tensor, place: slice) -> Tensor:
            """[H, L, ...] -> [K, H / K * L, ...]: the queries that share a head of keys."""
            return values[:, place].reshape(kv_heads, -1, *values.shape[2:])

        for part in parts(ctx.groups):
            length = part.queries.stop - part.queries.start
            queries, grad = rows(query, part.queries), rows(grad_out, part.queries)
            keys, values = key[:, part.keys], value[:, part.keys]
            scores = torch.bmm(queries.float(), keys.float().transpose(1, 2)).mul_(ctx.scale)
            probabilities = scores.sub_(rows(normalizer, part.queries)[..., None]).exp_()
            if part.causal:
                probabilities.view(kv_heads, -1, length, length).tril_()
            rounded = probabilities.to(query.dtype)
            grad_value[:, part.keys] += torch.bmm(rounded.transpose(1, 2), grad)
            grad_scores = torch.bmm(grad, values.transpose(1, 2)) - rows(inner, part.queries)[..., None]
            grad_scores = grad_scores.mul_(probabilities).to(query.dtype)
            grad_query[:, part.queries] += torch.bmm(grad_scores, keys).view(heads, length, width)
            grad_key[:, part.keys] += torch.bmm(grad_scores.transpose(1, 2), queries)
        return (
            grad_query.mul_(ctx.scale).to(query.dtype),
            grad_key.mul_(ctx.scale).to(key.dtype),
            grad_value.to(value.dtype),
            None,
            None,
        )


def _attend(query: Tensor, key: Tensor, value: Tensor, part: Part, scale: float) -> tuple[Tensor, Tensor]:
    """(what the queries attend to [H, L, D], log of the sum of exp of their scores [H, L])"""
    repeats = query.shape[0] // key.shape[0]
    keys, values = (x[:, part.keys].repeat_interleave(repeats, 0)[None] for x in (key, value))
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, normalizer = fused(query[None, :, part.queries], keys, values, 0.0, part.causal, scale=scale)
    return out[0], normalizer[0]
