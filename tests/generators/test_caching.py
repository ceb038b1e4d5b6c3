"""What is stored and read by other means than transformers' own is the same."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from tiny_families import tiny_model
from transformers import DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from harness_plugins.generators.caching import GROUPED, ROOM, expand, for_decoding, grouped_attention


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 2, 6])
@pytest.mark.parametrize("length", [1, 5])
def test_grouped_attention_is_sdpa(kv_heads: int, length: int, padded: bool) -> None:
    made = torch.Generator().manual_seed(0)
    query = torch.randn(3, 6, length, 8, generator=made)
    key, value = torch.randn(2, 3, kv_heads, 9, 8, generator=made)
    mask = None
    if padded:
        mask = torch.ones(length, 9, dtype=torch.bool).tril(9 - length).expand(3, 1, length, 9).clone()
        mask[1, ..., :3] = False
    module = SimpleNamespace(num_key_value_groups=6 // kv_heads, is_causal=True)
    ours, _ = grouped_attention(module, query, key, value, mask, scaling=0.3)
    theirs, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=0.3)
    torch.testing.assert_close(ours, theirs)


def test_expanded_cache_holds_what_transformers_cache_holds_as_it_grows_and_shrinks() -> None:
    made = torch.Generator().manual_seed(0)
    ours, theirs = DynamicCache(), DynamicCache()
    for layer in range(2):
        prompt = torch.randn(2, 2, 3, 7, 4, generator=made)
        ours.update(*prompt, layer)
        theirs.update(*prompt, layer)
    rows_N = torch.tensor([0, 0, 1, 1, 1])
    expand(ours, rows_N)
    theirs.batch_select_indices(rows_N)
    for step in range(2 * ROOM + 3):
        if step == ROOM // 2:
            keep_M = torch.tensor([1, 4])
            ours.batch_select_indices(keep_M)
            theirs.batch_select_indices(keep_M)
        for layer in range(2):
            new = torch.randn(2, len(theirs.layers[layer].keys), 3, 1, 4, generator=made)
            for a, b in zip(ours.update(*new, layer), theirs.update(*new, layer), strict=True):
                assert torch.equal(a, b)
        assert ours.get_seq_length() == theirs.get_seq_length()


@pytest.mark.parametrize(("family", "attention"), [("llama", GROUPED), ("gemma2", "eager")])
def test_only_sdpa_is_replaced(family: str, attention: str) -> None:
    assert for_decoding(tiny_model(family)).config._attn_implementation == attention
