"""Tiny random models in fp32: real architectures, small enough to compare gradients exactly."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tiny_families import VOCABULARY
from transformers import AutoModelForCausalLM

from harness.protocols import RunContext
from harness.types import AdapterCheckpoint, Completion, Group, Prompt, Sampling, ScoredGroup

DEFAULT_SAMPLING = Sampling(max_tokens=16)


def with_lora(model: Any) -> Any:
    """A LoRA adapter that already changes the model (random B), so that all its gradients are non-zero."""
    torch.manual_seed(1)
    # PEFT refuses Mamba's output projections, which its kernel reads past the adapter.
    targets = ["in_proj", "x_proj"] if model.config.model_type == "mamba" else "all-linear"
    return get_peft_model(model, LoraConfig(r=4, target_modules=targets, init_lora_weights=False))


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], tolerance: float) -> None:
    """Equal to `tolerance` times the largest entry of each tensor, and none of them zero."""
    assert ours
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        scale = gradient.abs().max().item()
        assert scale > 0, name
        assert (ours[name] - gradient).abs().max().item() <= tolerance * scale, name


def tokens(length: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(3, VOCABULARY, (length,), generator=generator).tolist())


def scored_group(
    seed: int,
    rewards: tuple[float | None, ...],
    *,
    logprobs: bool = True,
    sampling: Sampling = DEFAULT_SAMPLING,
    truncated: tuple[int, ...] = (),
) -> ScoredGroup:
    """A group of made-up completions of 3 to 8 tokens; those in `truncated` ran into the limit."""
    completions = []
    for g in range(len(rewards)):
        ids = tokens(3 + (seed + g) % 6, 100 * seed + g)
        logps = tuple(-1.0 - 0.1 * i for i in range(len(ids))) if logprobs else None
        completions.append(Completion("", ids, logps, "length" if g in truncated else "stop"))
    group = Group(Prompt(f"p{seed}", ()), tokens(10 + seed % 3, 7000 + seed), tuple(completions), "base", sampling)
    return ScoredGroup(group, tuple(() for _ in rewards), rewards)


def plain_logps(model: Any, prompt: tuple[int, ...], answer: tuple[int, ...], temperature: float = 1.0) -> torch.Tensor:
    """log p of each token of the answer, by one forward pass over this sequence alone."""
    logps_T_V = (model(torch.tensor([prompt + answer])).logits[0].float() / temperature).log_softmax(-1)
    return logps_T_V[range(len(prompt) - 1, len(prompt + answer) - 1), list(answer)]


def mean_logp(model: Any, scored: ScoredGroup, g: int) -> float:
    prompt, answer = scored.group.prompt_token_ids, scored.group.completions[g].token_ids
    with torch.no_grad():
        return float(plain_logps(model, prompt, answer).mean())


def models(context: RunContext, checkpoint: AdapterCheckpoint) -> tuple[Any, Any]:
    path = context.require_model().path
    base, again = (AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for _ in range(2))
    return base.eval(), PeftModel.from_pretrained(again, checkpoint.path).eval()
