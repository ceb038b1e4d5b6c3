"""One step of sampling, and random numbers that do not depend on what else is in the batch."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from harness.types import Sampling

BLOCK = 256
"""Tokens whose probabilities are summed at a time when one is drawn."""


def uniforms(seed: int, prompt_id: str, index: int, count: int) -> np.ndarray:
    """`count` numbers in [0, 1), float64, for completion `index` of a prompt.

    A counter-based generator (Philox) under a key of its own: a completion sees the same numbers however the work
    is batched, and a longer limit only appends to them.
    """
    key = hashlib.sha256(f"{seed}\0{prompt_id}\0{index}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16]))).random(count)


def draw(
    logits_N_V: Tensor, uniforms_N: Tensor, sampling: Sampling, allowed_N_V: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Next tokens and their log-probabilities (natural log), both shaped N.

    The log-probabilities are the policy's own at the sampling temperature (1 when greedy): before truncation by
    min_p, top_k and top_p and before the grammar in `allowed_N_V`, since a trainer recomputes exactly these.
    """
    logits_N_V = logits_N_V.float()
    logps_N_V = torch.log_softmax(logits_N_V / (sampling.temperature or 1.0), dim=-1)
    choice_N_V = logps_N_V if allowed_N_V is None else logps_N_V.masked_fill(~allowed_N_V, -torch.inf)
    if sampling.temperature == 0:
        tokens_N = choice_N_V.argmax(dim=-1)
    else:
        tokens_N = inverse_cdf(truncate(choice_N_V, sampling), uniforms_N)
    return tokens_N, logps_N_V.gather(1, tokens_N[:, None]).squeeze(1)


def truncate(logps_N_V: Tensor, sampling: Sampling) -> Tensor:
    """Log-probabilities with -inf where min_p, top_k or top_p exclude a token, in that order (vLLM's)."""
    if sampling.min_p > 0:
        floor_N_1 = logps_N_V.amax(dim=-1, keepdim=True) + float(np.log(sampling.min_p))
        logps_N_V = logps_N_V.masked_fill(logps_N_V < floor_N_1, -torch.inf)
    if 0 < sampling.top_k < logps_N_V.shape[-1]:
        floor_N_1 = logps_N_V.topk(sampling.top_k, dim=-1).values[:, -1:]
        logps_N_V = logps_N_V.masked_fill(logps_N_V < floor_N_1, -torch.inf)
    if sampling.top_p < 1:
        sorted_N_V, order_N_V = logps_N_V.sort(dim=-1, descending=True)
        probs_N_V = sorted_N_V.softmax(dim=-1)
        # A token stays while those before it have not reached top_p, so the first one always stays.
        out_N_V = probs_N_V.cumsum(dim=-1) - probs_N_V >= sampling.top_p
        out_N_V[:, 0] = False
        logps_N_V = logps_N_V.masked_fill(torch.zeros_like(out_N_V).scatter(1, order_N_V, out_N_V), -torch.inf)
    return logps_N_V


def inverse_cdf(logps_N_V: Tensor, uniforms_N: Tensor) -> Tensor:
    """The first token whose cumulated probability exceeds the uniform number, of its row's total.

    Cumulated in float64, because 49k probabilities cumulated in float32 lose the rare tokens; first over blocks and
    then within the one that is hit, so that the whole vocabulary is never held in float64.
    """
    probs_N_V = logps_N_V.exp()
    if missing := -probs_N_V.shape[1] % BLOCK:
        probs_N_V = pad(probs_N_V, (0, missing))
    probs_N_B_K = probs_N_V.unflatten(1, (-1, BLOCK))
    cdf_N_B = probs_N_B_K.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    targets_N = uniforms_N.to(cdf_N_B) * cdf_N_B[:, -1]
    blocks_N = _first_above(cdf_N_B, targets_N)
    rows_N = torch.arange(len(blocks_N), device=blocks_N.device)
    before_N = torch.where(blocks_N > 0, cdf_N_B[rows_N, blocks_N - 1], 0.0)
    cdf_N_K = probs_N_B_K[rows_N, blocks_N].double().cumsum(dim=-1)
    return blocks_N * BLOCK + _first_above(cdf_N_K, targets_N - before_N)


def _first_above(cdf_N_K: Tensor, targets_N: Tensor) -> Tensor:
    """The first entry of each row above its target, or the first that reaches the total where rounding leaves none."""
    above_N = torch.searchsorted(cdf_N_K, targets_N[:, None], right=True)
    return torch.minimum(above_N, torch.searchsorted(cdf_N_K, cdf_N_K[:, -1:].contiguous())).squeeze(1)
