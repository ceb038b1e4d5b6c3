"""A tiny random Llama with a byte-level tokenizer, saved as a model folder, and random adapters for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_llama import PROBE_IDS, byte_tokenizer, teacher_forced
from transformers import LlamaConfig, LlamaForCausalLM

from harness.checkpoints import seal_checkpoint
from harness.protocols import ModelRef
from harness.types import AdapterCheckpoint, Probe


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """fp32, 512 positions. Its embeddings are scaled up so that the distribution is far from uniform."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelRef("tiny", folder, "tiny-fingerprint")


@pytest.fixture(scope="session")
def adapters(tiny: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], AdapterCheckpoint]:
    """adapters(seed): a random LoRA adapter, sealed with the probe that a trainer would record."""
    made: dict[int, AdapterCheckpoint] = {}

    def make(seed: int) -> AdapterCheckpoint:
        if seed not in made:
            torch.manual_seed(seed)
            model = get_peft_model(
                LlamaForCausalLM.from_pretrained(tiny.path),
                LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"),
            ).eval()
            folder = tmp_path_factory.mktemp(f"adapter{seed}")
            model.save_pretrained(folder)
            probe = Probe(PROBE_IDS, teacher_forced(model, PROBE_IDS))
            made[seed] = seal_checkpoint(folder, base=tiny.fingerprint, probe=probe)
        return made[seed]

    return make
