"""Tiny random instances of the model families: real architectures, small enough to compare numbers exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from harness.protocols import ModelRef
from harness_plugins.models.shared_prefix import attention_for

VOCABULARY = 211

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    # Large weights: at the usual 0.02 every distribution is near uniform and a wrong mask would hardly show.
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WINDOW = 4
"""Of the sliding families: shorter than the prompts and the longer completions."""

MIXED = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}

FAMILIES: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(**SIZES),
    "llama_tied": lambda: transformers.LlamaConfig(**SIZES, tie_word_embeddings=True),
    "llama_multi_query": lambda: transformers.LlamaConfig(**{**SIZES, "num_key_value_heads": 1}),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES),
    "qwen2_sliding": lambda: transformers.Qwen2Config(
        **SIZES, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1
    ),
    "qwen2_all_sliding": lambda: transformers.Qwen2Config(
        **SIZES, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=0
    ),
    "qwen3": lambda: transformers.Qwen3Config(**SIZES, head_dim=8),
    "mistral": lambda: transformers.MistralConfig(**SIZES, sliding_window=None),
    "mistral_sliding": lambda: transformers.MistralConfig(**SIZES, sliding_window=WINDOW),
    "gemma": lambda: transformers.GemmaConfig(**SIZES, head_dim=8),
    # Caps so low that leaving them out changes every distribution.
    "gemma2": lambda: transformers.Gemma2Config(
        **SIZES, **MIXED, head_dim=8, query_pre_attn_scalar=8, attn_logit_softcapping=1.0, final_logit_softcapping=4.0
    ),
    "gemma3": lambda: transformers.Gemma3TextConfig(**SIZES, **MIXED, head_dim=8, query_pre_attn_scalar=8),
    # Its second layer has no position embedding.
    "smollm3": lambda: transformers.SmolLM3Config(**SIZES, no_rope_layers=[1, 0]),
    "smollm3_sliding": lambda: transformers.SmolLM3Config(
        **SIZES, no_rope_layers=[1, 0], use_sliding_window=True, sliding_window=WINDOW
    ),
    "gpt2": lambda: transformers.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=256),
}
REFUSED: dict[str, Callable[[], Any]] = {
    "lfm2": lambda: transformers.Lfm2Config(**SIZES, layer_types=["conv", "full_attention"]),
    "mamba": lambda: transformers.MambaConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, initializer_range=0.3, pad_token_id=0
    ),
    "starcoder2_sliding": lambda: transformers.Starcoder2Config(**SIZES, sliding_window=WINDOW),
}
"""Families whose completions cannot share a row."""


def tiny_model(family: str = "llama") -> Any:
    torch.manual_seed(0)
    config = {**FAMILIES, **REFUSED}[family]()
    attention = attention_for(config)
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32)


def save_with_tokenizer(family: str, tokenizer: Any, folder: Path) -> ModelRef:
    """A model folder of the family whose vocabulary is the tokenizer's."""
    config = {**FAMILIES, **REFUSED}[family]()
    config.vocab_size = len(tokenizer)
    if hasattr(config, "max_position_embeddings"):
        config.max_position_embeddings = 2048
    config.bos_token_id, config.eos_token_id, config.pad_token_id = None, tokenizer.eos_token_id, tokenizer.pad_token_id
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelRef(family, folder, "f" * 64)
