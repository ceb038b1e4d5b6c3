"""Every family samples here as it does by itself: sliding windows, soft caps, layers without attention."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_families import FAMILIES, REFUSED, WINDOW, save_with_tokenizer
from tiny_llama import ask, byte_tokenizer, teacher_forced
from transformers import AutoModelForCausalLM

from harness.protocols import RunContext, SilentProgress
from harness.types import Sampling
from harness_plugins.generators.configs import TransformersConfig
from harness_plugins.generators.decoding import why_not_cached
from harness_plugins.generators.transformers_generator import create_transformers
from harness_plugins.models.shared_prefix import attention_for

PROMPTS = [ask("hi"), ask("a longer question, to which the others are padded"), ask("why?")]
TOKENS = 24


class Notes(SilentProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize("family", [*FAMILIES, *REFUSED])
def test_greedy_equals_generate_and_log_probs_those_of_a_plain_forward(family: str, tmp_path: Path) -> None:
    reference, progress = save_with_tokenizer(family, byte_tokenizer(), tmp_path), Notes()
    context = RunContext(model=reference, progress=progress)
    # Batches of 4 mix prompts of different lengths, and rows that end leave the cache.
    generator = create_transformers(TransformersConfig(dtype="float32", device="cpu", batch_size=4), context)
    attention = attention_for({**FAMILIES, **REFUSED}[family]())
    model = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation=attention).eval()

    groups = generator.generate(PROMPTS, n=2, sampling=Sampling(temperature=0, max_tokens=TOKENS), seed=0)
    for group in groups:
        ids = torch.tensor([group.prompt_token_ids])
        expected = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=TOKENS)
        assert ids.shape[1] > WINDOW
        for completion in group.completions:
            assert completion.token_ids == tuple(expected[0, ids.shape[1] :].tolist())
    assert max(len(group.completions[0].token_ids) for group in groups) == TOKENS > WINDOW

    (group,) = generator.generate(PROMPTS[:1], n=3, sampling=Sampling(max_tokens=TOKENS), seed=1)
    for completion in group.completions:
        logps = teacher_forced(model, group.prompt_token_ids + completion.token_ids)
        assert completion.logprobs == pytest.approx(logps[len(group.prompt_token_ids) - 1 :], abs=1e-4)

    assert bool(progress.notes) == bool(why_not_cached(model))


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("lfm2", "layers of type conv would read the padding"),
        ("mamba", "its recurrent layers would read the padding"),
        ("starcoder2_sliding", ""),
    ],
)
def test_layers_that_would_read_padding_are_named(family: str, reason: str) -> None:
    assert why_not_cached(AutoModelForCausalLM.from_config(REFUSED[family]())) == reason
