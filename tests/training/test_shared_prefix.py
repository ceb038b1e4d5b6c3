"""A packed row gives the log-probs and gradients of one plain forward pass per sequence."""

from __future__ import annotations

import pytest
import torch
from tiny_families import FAMILIES, REFUSED, WINDOW, tiny_model
from tiny_training import assert_same_gradients, gradients, plain_logps, tokens, with_lora

from harness_plugins.models.packing import TrainingCompletion, TrainingGroup, pack
from harness_plugins.models.shared_prefix import attention_for, completion_logps, why_not_shareable
from harness_plugins.models.token_logps import token_logps

GROUPS = [
    TrainingGroup(tokens(11, 1), tuple(TrainingCompletion(tokens(n, 10 + n)) for n in (4, 1, 7, 5))),
    TrainingGroup(tokens(6, 2), tuple(TrainingCompletion(tokens(n, 20 + n)) for n in (3, 8))),
]


@pytest.mark.parametrize("family", [*FAMILIES, *REFUSED])
@pytest.mark.parametrize("budget", [0, 20, 26, 500], ids=["plain", "split", "one group a row", "all in one row"])
def test_equals_the_plain_forward(family: str, budget: int) -> None:
    model, temperature = with_lora(tiny_model(family)).eval(), 0.7

    expected = {}
    for group in GROUPS:
        for completion in group.completions:
            logps_T = plain_logps(model, group.prompt_token_ids, completion.token_ids, temperature)
            logps_T.sum().backward()
            expected[completion.token_ids] = logps_T.detach()
    expected_gradients = gradients(model)
    model.zero_grad()

    seen = {}
    for row in pack(GROUPS, max_tokens=budget):
        logps_N_T, mask_N_T = completion_logps(model, row, temperature=temperature)
        (logps_N_T * mask_N_T).sum().backward()
        for completion, logps_T, mask_T in zip(row.completions, logps_N_T.detach(), mask_N_T, strict=True):
            seen[completion.token_ids] = logps_T[mask_T]

    assert seen.keys() == expected.keys()
    for answer, logps_T in expected.items():
        torch.testing.assert_close(seen[answer], logps_T, atol=1e-5, rtol=0)
    assert_same_gradients(gradients(model), expected_gradients, 1e-5)


@pytest.mark.parametrize("family", ["llama_multi_query", "qwen2_sliding", "mistral_sliding", "gpt2"])
def test_eager_attention_takes_the_same_masks(family: str) -> None:
    model = tiny_model(family).eval()
    model.set_attn_implementation("eager")
    assert why_not_shareable(model) == ""
    (row,) = pack(GROUPS, max_tokens=500)
    with torch.no_grad():
        logps_N_T, mask_N_T = completion_logps(model, row)
    of_completion = iter(zip(logps_N_T, mask_N_T, strict=True))
    for group in row.groups:
        for completion in group.completions:
            logps_T, mask_T = next(of_completion)
            expected = plain_logps(model, group.prompt_token_ids, completion.token_ids, 1.0)
            torch.testing.assert_close(logps_T[mask_T], expected, atol=1e-5, rtol=0)


def test_sharing_costs_the_prompt_once() -> None:
    group = TrainingGroup(tokens(200, 1), tuple(TrainingCompletion(tokens(40, i)) for i in range(8)))
    shared, plain = pack([group], max_tokens=1024), pack([group], max_tokens=0)
    assert sum(row.packed_tokens for row in shared) == 200 + 8 * 39
    assert sum(row.packed_tokens for row in plain) == 8 * (200 + 39)


def test_token_logps_equal_log_softmax_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness_plugins.models.token_logps.CACHED_BYTES", 128 * 50 * 4)
    logits_S_V = torch.randn(300, 50, dtype=torch.bfloat16, requires_grad=True)
    target_S = torch.randint(0, 50, (300,))
    ours = token_logps(logits_S_V, target_S, 1.3)
    theirs = torch.log_softmax(logits_S_V.float() / 1.3, -1)[range(300), target_S]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    (gradient,) = torch.autograd.grad(ours.sum(), logits_S_V, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(theirs.sum(), logits_S_V)[0])


def test_families_that_follow_the_mask_are_shared() -> None:
    for family in FAMILIES:
        assert why_not_shareable(with_lora(tiny_model(family))) == "", family


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("lfm2", "layers of type conv do not follow a block mask"),
        ("mamba", "its recurrent layers would carry their state"),
        ("starcoder2_sliding", "it is not known which masks starcoder2 takes"),
    ],
)
def test_others_are_refused_with_the_reason(family: str, reason: str) -> None:
    assert reason in why_not_shareable(with_lora(tiny_model(family)))


def test_attention_without_a_block_mask_and_without_causality_is_refused() -> None:
    model = tiny_model("gemma3")
    model.config._attn_implementation = "flash_attention_2"
    assert why_not_shareable(model) == "attention 'flash_attention_2' takes no block mask"
    model.config.use_bidirectional_attention = True
    assert why_not_shareable(model) == "its attention is not causal"


@pytest.mark.parametrize("family", ["qwen2_sliding", "mistral_sliding", "gemma2", "gemma3", "smollm3_sliding"])
def test_the_window_is_felt(family: str) -> None:
    """A wider one gives other log-probs, so the comparison above would notice its loss."""
    config = FAMILIES[family]()
    ids = torch.tensor([GROUPS[0].prompt_token_ids])
    narrow = tiny_model(family).eval()
    config.sliding_window = 2 * WINDOW
    wide = type(narrow)(config).eval()
    wide.load_state_dict(narrow.state_dict())
    assert (wide(ids).logits - narrow(ids).logits).abs().max() > 0.1


def test_soft_capped_attention_is_eager_and_sdpa_would_drop_the_cap() -> None:
    families = {**FAMILIES, **REFUSED}
    assert {family for family in families if attention_for(families[family]()) == "eager"} == {"gemma2", "mamba"}
    ids = torch.tensor([tokens(12, 3)])
    eager = tiny_model("gemma2").eval()
    sdpa = tiny_model("gemma2").eval()
    sdpa.set_attn_implementation("sdpa")
    uncapped = tiny_model("gemma2").eval()
    for layer in uncapped.model.layers:
        layer.self_attn.attn_logit_softcapping = None
    torch.testing.assert_close(sdpa(ids).logits, uncapped(ids).logits)
    assert (eager(ids).logits - sdpa(ids).logits).abs().max() > 0.1
