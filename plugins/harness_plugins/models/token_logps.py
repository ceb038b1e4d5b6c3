"""Log-probabilities of tokens from their logits, in fp32 a few positions at a time.

The fp32 log-softmax of all positions would be twice the size of bf16 logits, several times over with what autograd
holds of it. Here a few positions are done at a time, in memory that a CPU's caches hold, and again in the backward
pass, where the gradient of the logits is written out: d log p(t) / d logit = onehot(t) - p, and that of the entropy
H = -sum p log p is -p (log p + H).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CACHED_BYTES, CHUNK_BYTES = 2**21, 2**27
"""Of fp32 logits held at a time: on a CPU what a core's own cache takes, elsewhere enough to fill the device."""


def token_logps(logits_S_V: Tensor, target_S: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(logits / temperature) of each target [S], in fp32 and nats, from logits of any precision."""
    logps_S, _ = _TokenLogps.apply(logits_S_V, target_S, temperature, False)
    return logps_S  # type: ignore[no-any-return]


def token_logps_and_entropies(logits_S_V: Tensor, target_S: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """`token_logps`, and the entropy in nats of the distribution that each target is from."""
    logps_S, entropies_S = _TokenLogps.apply(logits_S_V, target_S, temperature, True)
    return logps_S, entropies_S


class _TokenLogps(torch.autograd.Function):
    """logits [S, V], target [S] -> log-probs [S], entropies [S] (zeros where not asked for)."""

    @staticmethod
    def forward(
        ctx: Any, logits_S_V: Tensor, target_S: Tensor, temperature: float, with_entropy: bool
    ) -> tuple[Tensor, Tensor]:
        log_z_S = torch.empty(len(target_S), device=logits_S_V.device)
        entropies_S = torch.zeros_like(log_z_S)
        for here, scaled_C_V, scratch_C_V in chunks(logits_S_V, temperature):
            highest_C = scaled_C_V.amax(-1)
            torch.sub(scaled_C_V, highest_C[:, None], out=scratch_C_V)
            total_C = scratch_C_V.exp_().sum(-1)
            log_z_S[here] = highest_C + total_C.log()
            if with_entropy:
                entropies_S[here] = log_z_S[here] - scratch_C_V.mul_(scaled_C_V).sum(-1) / total_C
        chosen_S = logits_S_V.gather(-1, target_S[:, None])[:, 0].float() / temperature
        ctx.save_for_backward(logits_S_V, target_S, log_z_S, entropies_S)
        ctx.temperature, ctx.with_entropy = temperature, with_entropy
        return chosen_S - log_z_S, entropies_S

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        grad_logps_S, grad_entropies_S = grads
        logits_S_V, target_S, log_z_S, entropies_S = ctx.saved_tensors
        grad_S_V = torch.empty_like(logits_S_V)
        for here, logps_C_V, scratch_C_V in chunks(logits_S_V, ctx.temperature):
            logps_C_V.sub_(log_z_S[here, None])
            torch.exp(logps_C_V, out=scratch_C_V)
            weight_C = grad_logps_S[here] / ctx.temperature
            if ctx.with_entropy:
                slope_C = grad_entropies_S[here] / ctx.temperature
                logps_C_V.add_(entropies_S[here, None]).mul_(slope_C[:, None]).add_(weight_C[:, None])
                scratch_C_V.mul_(logps_C_V.neg_())
            else:
                scratch_C_V.mul_(-weight_C[:, None])
            scratch_C_V.scatter_add_(-1, target_S[here, None], weight_C[:, None])
            grad_S_V[here] = scratch_C_V
        return grad_S_V, None, None, None


def chunks(logits_S_V: Tensor, temperature: float) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """(positions, their logits / temperature in fp32, as much scratch memory), a few positions at a time."""
    positions, vocabulary = logits_S_V.shape
    held = CACHED_BYTES if logits_S_V.device.type == "cpu" else CHUNK_BYTES
    size = max(1, held // (4 * vocabulary))
    scaled, scratch = torch.empty(2, min(size, positions), vocabulary, device=logits_S_V.device).unbind()
    for start in range(0, positions, size):
        here = slice(start, min(start + size, positions))
        count = here.stop - here.start
        scaled[:count].copy_(logits_S_V[here])
        if temperature != 1.0:
            scaled[:count].div_(temperature)
        yield here, scaled[:count], scratch[:count]
