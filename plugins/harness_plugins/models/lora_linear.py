"""A linear layer and its LoRA (arXiv:2106.09685) as one operation, for training on CPUs in bf16.

PEFT's own forward casts each layer's input to float32 and back, and adds the adapter's share in passes of their own
over the activations; on a small model these cost more than the products. Here the share is added by the product that
makes it, and the weights alone are cast. The mathematics is PEFT's: y = x W' + scaling * (x A') B'.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as PeftLinear
from torch import Tensor, nn


def fuse_lora(model: Any) -> None:
    """Let every layer of `model` with a plain LoRA compute it as one operation. Others stay as they are."""
    for module in model.modules():
        if isinstance(module, PeftLinear) and is_plain(module):
            module.forward = partial(forward, module, module.forward)


def is_plain(layer: PeftLinear) -> bool:
    """One adapter without dropout or variant (DoRA and the like), on weights that are not trained."""
    names = list(layer.lora_A)
    return (
        len(names) == 1
        and type(layer.base_layer) is nn.Linear
        and not layer.base_layer.weight.requires_grad
        and not layer.lora_variant
        and not layer.fan_in_fan_out
        and not layer.lora_bias[names[0]]
        and isinstance(layer.lora_dropout[names[0]], nn.Identity)
        and set(layer.lora_A[names[0]].parameters()) == {layer.lora_A[names[0]].weight}
    )


def forward(layer: PeftLinear, original: Any, x: Tensor, *args: Any, **options: Any) -> Tensor:
    """As PEFT's, which is asked wherever there is more to do."""
    (name,) = layer.lora_A
    if layer.disable_adapters or layer.merged or args or options or layer.active_adapters != [name]:
        return original(x, *args, **options)  # type: ignore[no-any-return]
    base, dtype = layer.base_layer, layer.base_layer.weight.dtype
    if x.dtype != dtype:
        return original(x)  # type: ignore[no-any-return]
    down, up = layer.lora_A[name].weight.to(dtype), layer.lora_B[name].weight.to(dtype)
    y: Tensor = _LoraLinear.apply(x.flatten(0, -2), base.weight, base.bias, down, up, layer.scaling[name])
    return y.view(*x.shape[:-1], -1)


class _LoraLinear(torch.autograd.Function):
    """x [T, I], weight [O, I], bias [O] or None, down [R, I], up [O, R] -> [T, O]; no gradient for weight and bias."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scaling: float
    ) -> Tensor:
        inner_T_R = x @ down.t()
        y_T_O = nn.functional.linear(x, weight, bias)
        y_T_O.addmm_(inner_T_R, up.t(), alpha=scaling)
        ctx.save_for_backward(x, weight, down, up, inner_T_R)
        ctx.scaling = scaling
        return y_T_O

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        (grad_T_O,) = grads
        x, weight, down, up, inner_T_R = ctx.saved_tensors
        grad_inner_T_R = (grad_T_O @ up).mul_(ctx.scaling)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = grad_T_O @ weight
            grad_x.addmm_(grad_inner_T_R, down)
        grad_up = (grad_T_O.t() @ inner_T_R).mul_(ctx.scaling)
        return grad_x, None, None, grad_inner_T_R.t() @ x, grad_up, None
