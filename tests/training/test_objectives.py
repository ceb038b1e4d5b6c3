"""What the comparison with TRL does not cover: numbers by hand, and inputs that an objective must refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from harness.errors import HarnessError
from harness.protocols import SequenceBatch, StepTotals
from harness_plugins.configs_training import ClippedConfig, DapoConfig
from harness_plugins.objectives.grpo import Dapo, DrGrpo, Grpo
from harness_plugins.objectives.nll import Nll
from harness_plugins.objectives.rloo import Rloo

MASK = torch.tensor([[True, True], [True, False]])
TOTALS = StepTotals(sequences=2, tokens=3, max_tokens=5)


def batch(**changes: Any) -> SequenceBatch:
    fields: dict[str, Any] = {
        "logps_N_T": torch.log(torch.tensor([[0.5, 0.25], [0.5, 1.0]])),
        "mask_N_T": MASK,
        "totals": TOTALS,
        "advantages_N": torch.tensor([1.0, -2.0]),
    }
    return SequenceBatch(**{**fields, **changes})


def test_on_policy_losses_by_hand() -> None:
    """With a ratio of 1 each token's loss is -A: -1, -1 and 2."""
    config = ClippedConfig()
    assert Grpo(config)(batch()).loss.item() == pytest.approx((-1 + 2) / 2)
    assert DrGrpo(config)(batch()).loss.item() == pytest.approx((-1 - 1 + 2) / (2 * 5))
    assert Dapo(DapoConfig())(batch()).loss.item() == pytest.approx(0 / 3)
    assert Rloo(config)(batch()).loss.item() == pytest.approx((-1 + 2) / 2)
    assert Nll()(batch()).loss.item() == pytest.approx(math.log(2 * 4 * 2) / 3)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"), [(1.25, 1.0, -1.25), (1.4, 1.0, -1.28), (0.7, -1.0, 0.8), (1.4, -1.0, 1.4)]
)
def test_dapo_clips_higher_above_than_below(ratio: float, advantage: float, loss: float) -> None:
    one = batch(
        logps_N_T=torch.tensor([[math.log(ratio)]]),
        old_logps_N_T=torch.zeros(1, 1),
        mask_N_T=torch.tensor([[True]]),
        advantages_N=torch.tensor([advantage]),
        totals=StepTotals(1, 1, 1),
    )
    output = Dapo(DapoConfig())(one)
    assert output.loss.item() == pytest.approx(loss)
    assert output.metrics["objective/ratio"] == pytest.approx(ratio)
    assert output.metrics["objective/approx_kl"] == pytest.approx(ratio - 1 - math.log(ratio), abs=1e-6)
    assert output.metrics["objective/clip_fraction"] == float(abs(loss) != ratio)


def test_penalty_of_rloo_by_hand() -> None:
    """The reference gives half the probability to the first token and the same to the others: k3 = 1/2 - 1 + log 2."""
    reference = torch.log(torch.tensor([[0.25, 0.25], [0.5, 1.0]]))
    with_penalty = Rloo(ClippedConfig(kl_coef=0.1))(batch(ref_logps_N_T=reference))
    k3 = 0.5 - 1 + math.log(2)
    assert with_penalty.loss.item() == pytest.approx((-1 + 2) / 2 + 0.1 * k3 / 2)
    assert with_penalty.metrics["objective/reference_kl"] == pytest.approx(k3 / 3)


def test_the_penalty_pulls_along_the_gradient_of_the_kl() -> None:
    """Over all tokens of a small vocabulary, the expected gradient is that of the exact KL(pi || ref)."""
    logits = torch.tensor([0.3, -0.7, 1.1], requires_grad=True)
    reference = torch.log_softmax(torch.tensor([-0.2, 0.4, 0.5]), -1)
    logps = torch.log_softmax(logits, -1)
    (exact,) = torch.autograd.grad((logps.exp() * (logps - reference)).sum(), logits, retain_graph=True)
    expected = torch.zeros(3)
    for token in range(3):
        one = SequenceBatch(
            logps_N_T=logps[token].view(1, 1),
            mask_N_T=torch.tensor([[True]]),
            totals=StepTotals(1, 1, 1),
            advantages_N=torch.zeros(1),
            ref_logps_N_T=reference[token].view(1, 1),
        )
        loss = Grpo(ClippedConfig(kl_coef=1.0))(one).loss
        expected += logps[token].exp().item() * torch.autograd.grad(loss, logits, retain_graph=True)[0]
    torch.testing.assert_close(expected, exact, atol=1e-6, rtol=0)


@pytest.mark.parametrize("objective", [Grpo, DrGrpo, Dapo, Rloo])
def test_missing_inputs_are_refused(objective: Any) -> None:
    with pytest.raises(HarnessError, match=f"{objective.name} needs advantages"):
        objective(ClippedConfig())(batch(advantages_N=None))
    with pytest.raises(HarnessError, match="no reference policy"):
        objective(ClippedConfig(kl_coef=0.1))(batch())


@pytest.mark.parametrize("objective", [Grpo, DrGrpo, Dapo, Rloo, lambda _: Nll()])
def test_padding_does_not_matter(objective: Any) -> None:
    junk = torch.tensor([[0.0, 0.0], [0.0, 3.0]])
    clean = batch(old_logps_N_T=torch.full((2, 2), -0.9))
    dirty = batch(logps_N_T=clean.logps_N_T - junk, old_logps_N_T=clean.old_logps_N_T - 2 * junk, mask_N_T=MASK)
    config = ClippedConfig()
    assert objective(config)(dirty).loss.item() == pytest.approx(objective(config)(clean).loss.item())
    assert objective(config)(dirty).metrics == pytest.approx(objective(config)(clean).metrics)
