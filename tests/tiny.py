"""Builders of a tiny random model and a tiny suite."""

from __future__ import annotations

import json
from pathlib import Path

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tiny_model(folder: Path, *, seed: int = 0, hidden_size: int = 32) -> Path:
    """A random Llama of 2 layers whose tokens are bytes, saved as any other model is."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>")
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    fast.chat_template = CHATML
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def write_suite(
    folder: Path, *, items: int = 24, train: int = 24, role: str = "target", letters: str = "abcdefghij"
) -> Path:
    """A suite whose right answer is the letter that is asked for, in turn one of `letters`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.toml").write_text(
        f"""[suite]
name = "{folder.name}"
version = "1"
role = "{role}"
summary = "Say the letter"
license = "none"
items = "items.jsonl"
train = "train.jsonl"
margin = 0.2
anchor_margin = 0.3

[suite.sampling]
temperature = 0.0
max_tokens = 6

[[judges]]
name = "exact"
"""
    )

    def row(kind: str, number: int) -> str:
        letter = letters[number % len(letters)]
        return json.dumps(
            {
                "id": f"{kind}-{number}",
                "prompt": f"{kind} {number}: say {letter}",
                "target": {"answers": [letter]},
                "reference": letter,
            }
        )

    (folder / "items.jsonl").write_text("\n".join(row("item", i) for i in range(items)) + "\n")
    (folder / "train.jsonl").write_text("\n".join(row("train", i) for i in range(train)) + "\n")
    return folder
