"""RMSNorm (arXiv:1910.07467) with frozen weights as one operation, for training on CPUs.

Autograd's own takes some twenty passes over the activations to norm them and go back, in memory that is asked for
anew each time; on a small model that costs more than the products beside it. The mathematics is transformers': the
mean of squares in fp32, the result rounded before it is multiplied by the weights.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers.models.llama.modeling_llama import LlamaRMSNorm

ROWS = 192
"""Tokens whose fp32 values are held at a time in the backward pass."""


def fuse_norms(model: Any) -> None:
    """Let every RMSNorm of `model` that is computed as Llama's, on weights that are not trained, be one operation."""
    for module in model.modules():
        if is_llamas(module) and not module.weight.requires_grad:
            module.forward = partial(_forward, module)


def is_llamas(module: Any) -> bool:
    """transformers copies the class from model to model, under other names; some (Gemma's) compute something else."""
    kind = type(module)
    return kind.__name__.endswith("RMSNorm") and _source(kind) == _source(LlamaRMSNorm)


def _source(kind: type) -> str:
    """Its forward without the signature, which is annotated or not."""
    return inspect.getsource(kind.forward).split(":\n", 1)[-1]


def _forward(norm: Any, hidden_states: Tensor) -> Tensor:
    y: Tensor = _RmsNorm.apply(hidden_states.flatten(0, -2), norm.weight, norm.variance_epsilon)
    return y.view_as(hidden_states)


class _RmsNorm(torch.autograd.Function):
    """x [T, D], weight [D] -> [T, D]; no gradient for the weight.

    With n = x / rms and g = weight * dL/dy, dL/dx = (g - n * mean(g * n)) / rms.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide_T_D = x.to(torch.float32, copy=True)
        scale_T_1 = torch.linalg.vector_norm(wide_T_D, dim=-1, keepdim=True)
        scale_T_1.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        normed_T_D = wide_T_D.mul_(scale_T_1).to(x.dtype)
        ctx.save_for_backward(normed_T_D, weight, scale_T_1)
        return normed_T_D * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad_T_D,) = grads
        normed_T_D, weight, scale_T_1 = ctx.saved_tensors
        out_T_D, wide_weight = torch.empty_like(normed_T_D), weight.float()
        for start in range(0, len(grad_T_D), ROWS):
            here = slice(start, start + ROWS)
            g, n = torch.mul(grad_T_D[here], wide_weight), normed_T_D[here].float()
            mean_1 = torch.linalg.vecdot(g, n)[:, None].div_(g.shape[-1])
            out_T_D[here] = g.addcmul_(n, mean_1, value=-1).mul_(scale_T_1[here])
        return out_T_D, None, None
