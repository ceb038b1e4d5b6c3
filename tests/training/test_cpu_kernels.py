"""What training on CPUs computes in its own operations, against transformers' and PEFT's own in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_families import FAMILIES, tiny_model
from tiny_training import assert_same_gradients, gradients, tokens, with_lora

from harness_plugins.models import packed_attention
from harness_plugins.models.lora_linear import fuse_lora, is_plain
from harness_plugins.models.packing import Row, TrainingCompletion, TrainingGroup
from harness_plugins.models.rms_norm import fuse_norms, is_llamas
from harness_plugins.models.shared_prefix import completion_logps

LLAMAS = ["llama_multi_query", "mistral_sliding", "qwen2", "smollm3_sliding"]


def group(prompt: int, *answers: int) -> TrainingGroup:
    """Completions of these lengths of one prompt of that length."""
    completions = tuple(TrainingCompletion(tokens(n, 31 * prompt + i)) for i, n in enumerate(answers))
    return TrainingGroup(tokens(prompt, prompt), completions)


ROWS = {
    "one completion": Row((group(9, 5),)),
    "one token": Row((group(9, 1),)),
    "single completions": Row((group(9, 5), group(4, 7), group(11, 1))),
    "groups": Row((group(9, 5, 1, 7), group(1, 3, 3))),
    "one-token completions": Row((group(9, 1, 1), group(5, 1, 4))),
    "more than the padding": Row((group(90, 20, 30), group(40, 33))),
}


def scored(model: Any, row: Row) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Log-probs of the row's completions, and the gradients of a weighted sum of them."""
    model.zero_grad()
    logps_N_T, mask_N_T = completion_logps(model, row)
    weights_N_T = torch.linspace(-1, 1, logps_N_T.numel()).view_as(logps_N_T)
    (logps_N_T * mask_N_T * weights_N_T).sum().backward()
    return logps_N_T.detach(), gradients(model)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("family", ["llama_multi_query", "gpt2"])
def test_packed_attention_equals_masked_attention(family: str, row: Row) -> None:
    model = with_lora(tiny_model(family)).eval()
    model.set_attn_implementation("sdpa")
    expected, expected_gradients = scored(model, row)
    model.set_attn_implementation(packed_attention.NAME)
    ours, our_gradients = scored(model, row)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    assert_same_gradients(our_gradients, expected_gradients, 2e-5)


def test_packed_attention_is_what_computes_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above is not one of masked attention with itself."""
    model = tiny_model("llama_multi_query").eval()
    model.set_attn_implementation(packed_attention.NAME)
    calls: list[int] = []
    attend = packed_attention._PackedAttention.apply
    monkeypatch.setattr(packed_attention._PackedAttention, "apply", lambda *a: calls.append(1) or attend(*a))
    completion_logps(model, ROWS["groups"])
    assert len(calls) == model.config.num_hidden_layers


def test_its_error_in_bf16_is_no_larger_than_that_of_torch() -> None:
    torch.manual_seed(0)
    row = ROWS["more than the padding"]
    exact = with_lora(tiny_model("llama_multi_query")).eval().double()
    expected, expected_gradients = scored(exact, row)
    errors = {}
    for name in ("sdpa", packed_attention.NAME):
        model = copy.deepcopy(exact).to(torch.bfloat16)
        model.set_attn_implementation(name)
        ours, our_gradients = scored(model, row)
        parts = [(our_gradients[n] - g).norm() / g.norm() for n, g in expected_gradients.items()]
        errors[name] = ((ours - expected).abs().mean().item(), torch.stack(parts).mean().item())
    assert errors["packed"][0] < 1.2 * errors["sdpa"][0]
    assert errors["packed"][1] < 1.2 * errors["sdpa"][1]


@pytest.mark.parametrize("fuse", [fuse_lora, fuse_norms], ids=["lora", "norms"])
@pytest.mark.parametrize("family", LLAMAS)
def test_fused_layers_equal_the_layers_they_replace(family: str, fuse: Callable[[Any], None]) -> None:
    model = with_lora(tiny_model(family)).eval()
    expected, expected_gradients = scored(model, ROWS["groups"])
    fuse(model)
    assert any("forward" in vars(module) for module in model.modules()), "nothing was fused"
    ours, our_gradients = scored(model, ROWS["groups"])
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    assert_same_gradients(our_gradients, expected_gradients, 2e-5)


def test_a_fused_lora_can_be_switched_off() -> None:
    model = with_lora(tiny_model("llama")).eval()
    ids = torch.tensor([tokens(12, 3)])
    with torch.no_grad(), model.disable_adapter():
        base = model(ids).logits
    fuse_lora(model)
    with torch.no_grad():
        assert not torch.equal(model(ids).logits, base)
        with model.disable_adapter():
            torch.testing.assert_close(model(ids).logits, base, atol=0, rtol=0)


@pytest.mark.parametrize(
    "settings", [{"use_dora": True}, {"lora_dropout": 0.1}, {"lora_bias": True}], ids=["dora", "dropout", "bias"]
)
def test_other_kinds_of_lora_stay_as_they_are(settings: dict[str, Any]) -> None:
    model = get_peft_model(tiny_model("llama"), LoraConfig(r=4, target_modules=["q_proj"], **settings))
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    assert not is_plain(layer)
    fuse_lora(model)
    assert "forward" not in vars(layer)


def test_a_norm_that_computes_something_else_stays_as_it_is() -> None:
    kinds = {family: [m for m in tiny_model(family).modules() if "Norm" in type(m).__name__] for family in FAMILIES}
    assert all(is_llamas(norm) for family in LLAMAS for norm in kinds[family])
    assert not any(is_llamas(norm) for family in ("gemma2", "gemma3", "gpt2") for norm in kinds[family])


def test_norms_that_are_trained_are_not_fused() -> None:
    model = tiny_model("llama")
    fuse_norms(model)
    assert not any("forward" in vars(module) for module in model.modules())
