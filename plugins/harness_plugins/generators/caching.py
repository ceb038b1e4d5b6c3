"""Keys and values of a batch that is being decoded: written in place, and read once for all heads that share them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from harness_plugins.models.adapters import quiet

GROUPED = "harness_grouped"
"""The name under which transformers knows `grouped_attention`."""

ROOM = 64
"""Tokens by which a layer's buffers grow at a time."""


class RoomyLayer(DynamicLayer):
    """A layer's cache with room for tokens to come.

    transformers' own copies all keys and values for each new token, which at a prompt of 1,000 tokens costs more than
    the model. `keys` and `values` are views of the part of the buffers that is filled.
    """

    def __init__(self, layer: DynamicLayer, rows_N: Tensor) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = layer.dtype, layer.device, True
        self._take(layer.keys, layer.values, rows_N)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        start, stop = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        if stop > self._keys.shape[-2]:
            self._keys, self._values = _roomy(self.keys, stop + ROOM), _roomy(self.values, stop + ROOM)
        self._keys[..., start:stop, :] = key_states
        self._values[..., start:stop, :] = value_states
        self.keys, self.values = self._keys[..., :stop, :], self._values[..., :stop, :]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        self._take(self.keys, self.values, indices)

    def _take(self, keys: Tensor, values: Tensor, rows_N: Tensor) -> None:
        length = keys.shape[-2]
        self._keys, self._values = _roomy(keys[rows_N], length + ROOM), _roomy(values[rows_N], length + ROOM)
        self.keys, self.values = self._keys[..., :length, :], self._values[..., :length, :]


def _roomy(filled: Tensor, capacity: int) -> Tensor:
    buffer = filled.new_empty(*filled.shape[:-2], capacity, filled.shape[-1])
    buffer[..., : filled.shape[-2], :] = filled
    return buffer


def expand(cache: Cache, rows_N: Tensor) -> None:
    """Let the cache hold sequence `rows_N[i]` of those it holds as its i-th, with room for what is decoded.

    Layers of other kinds than plain attention keep their own caches, and so do those that hold nothing.
    """
    for index, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and layer.get_seq_length() > 0:
            cache.layers[index] = RoomyLayer(layer, rows_N)
        else:
            layer.batch_select_indices(rows_N)


def grouped_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """SDPA, which transformers gives a copy of keys and values for each query head where there is a mask.

    A new token attends to all that is before it, so that the query heads of a key-value head can be read as so many
    queries of one head. `query` is [N, heads, T, D], `key` and `value` are [N, key-value heads, S, D]. Returns
    [N, T, heads, D].
    """
    rows, heads, length, _ = query.shape
    one_mask = attention_mask is None or attention_mask.shape[1:3] == (1, 1)
    if length > 1 or heads == key.shape[1] or not one_mask or options.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    query = query.reshape(rows, key.shape[1], heads // key.shape[1], -1)
    out = scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, scale=scaling)
    return out.reshape(rows, 1, heads, -1), None


AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, sdpa_mask)


def for_decoding(model: PreTrainedModel) -> PreTrainedModel:
    """The model, with `grouped_attention` where it has SDPA and lets it be replaced."""
    if model.config._attn_implementation == "sdpa":
        with quiet():
            model.set_attn_implementation(GROUPED)
    return model
