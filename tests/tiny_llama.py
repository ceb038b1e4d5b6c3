"""What the generator tests build their tiny model from."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from harness.types import Prompt

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PROBE_IDS = (5, 9, 2, 77, 31, 8, 120, 64, 3, 200, 17, 42)


def byte_tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template = template
    return tokenizer


def teacher_forced(model: torch.nn.Module, ids: tuple[int, ...]) -> tuple[float, ...]:
    """Log-probabilities of ids[1:] by one plain forward pass."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].float()
    return tuple(float(logits[t].log_softmax(0)[ids[t + 1]]) for t in range(len(ids) - 1))


def ask(text: str, id: str | None = None, **fields: object) -> Prompt:
    return Prompt(id or text, ({"role": "user", "content": text},), **fields)  # type: ignore[arg-type]
