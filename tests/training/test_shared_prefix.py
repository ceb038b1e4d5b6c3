"""A packed row gives the log-probs and gradients of one plain forward pass per sequence."""

from __future__ import annotations

import pytest
import torch
from tiny_training import assert_same_gradients, gradients, plain_logps, tiny_model, tokens, with_lora

from harness_plugins.packing import TrainingCompletion, TrainingGroup, pack
from harness_plugins.shared_prefix import completion_logps, token_logps, why_not_shareable

GROUPS = [
    TrainingGroup(tokens(11, 1), tuple(TrainingCompletion(tokens(n, 10 + n)) for n in (4, 1, 7, 5))),
    TrainingGroup(tokens(6, 2), tuple(TrainingCompletion(tokens(n, 20 + n)) for n in (3, 8))),
]


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gpt2"])
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


def test_sharing_costs_the_prompt_once() -> None:
    group = TrainingGroup(tokens(200, 1), tuple(TrainingCompletion(tokens(40, i)) for i in range(8)))
    shared, plain = pack([group], max_tokens=1024), pack([group], max_tokens=0)
    assert sum(row.packed_tokens for row in shared) == 200 + 8 * 39
    assert sum(row.packed_tokens for row in plain) == 8 * (200 + 39)


def test_token_logps_equal_log_softmax_across_chunks() -> None:
    logits_S_V = torch.randn(300, 50, dtype=torch.bfloat16, requires_grad=True)
    target_S = torch.randint(0, 50, (300,))
    ours = token_logps(logits_S_V, target_S, 1.3)
    theirs = torch.log_softmax(logits_S_V.float() / 1.3, -1)[range(300), target_S]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    (gradient,) = torch.autograd.grad(ours.sum(), logits_S_V, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(theirs.sum(), logits_S_V)[0])


def test_families_that_follow_the_mask_are_shared_and_others_refused() -> None:
    for family in ("llama", "qwen2", "qwen3", "gpt2"):
        assert why_not_shareable(with_lora(tiny_model(family))) == ""
    assert "sliding" in why_not_shareable(with_lora(tiny_model("mistral_sliding")))
