"""What the comparison with TRL does not cover: numbers by hand, and inputs that an objective must refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from harness.errors import HarnessError
from harness.protocols import SequenceBatch, StepTotals
from harness_plugins.objectives.bco import Bco
from harness_plugins.objectives.configs import ClippedConfig, DapoConfig, DpoConfig, KtoConfig, RobustDpoConfig
from harness_plugins.objectives.dft import Dft
from harness_plugins.objectives.dpo import Dpo, RobustDpo
from harness_plugins.objectives.grpo import Dapo, DrGrpo, Grpo
from harness_plugins.objectives.mixture import ChosenNll, Mixture
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


def test_dft_by_hand() -> None:
    """Probabilities 1/2, 1/4 and 1/2: the sum of -p log p over three tokens, and no gradient through the weight."""
    logps_N_T = torch.log(torch.tensor([[0.5, 0.25], [0.5, 1.0]])).requires_grad_()
    loss = Dft()(batch(logps_N_T=logps_N_T)).loss
    assert loss.item() == pytest.approx((0.5 * math.log(2) + 0.25 * math.log(4) + 0.5 * math.log(2)) / 3)
    (gradient,) = torch.autograd.grad(loss, logps_N_T)
    torch.testing.assert_close(gradient, -torch.tensor([[0.5, 0.25], [0.5, 0.0]]) / 3)


def pair(chosen: float, rejected: float, **changes: Any) -> SequenceBatch:
    """One pair of completions of one token with these log-probs, and a reference of log-prob -1 for both."""
    return batch(
        logps_N_T=torch.tensor([[chosen], [rejected]]),
        mask_N_T=torch.ones(2, 1, dtype=torch.bool),
        ref_logps_N_T=torch.full((2, 1), -1.0),
        pairs_M_2=torch.tensor([[0, 1]]),
        totals=StepTotals(sequences=2, tokens=2, max_tokens=1, pairs=1),
        **changes,
    )


def test_conservative_dpo_by_hand() -> None:
    """beta d = 0.5 * 2 = 1 and a tenth of the labels wrong; the loss is lowest where the odds are 9 to 1."""
    objective = Dpo(DpoConfig(beta=0.5, label_smoothing=0.1))
    loss = objective(pair(-1.0, -3.0)).loss.item()
    assert loss == pytest.approx(0.9 * math.log(1 + math.exp(-1)) + 0.1 * math.log(1 + math.exp(1)))
    best = 2 * math.log(9)
    at_best, *around = (objective(pair(0.0, -margin)).loss.item() for margin in (best, best - 0.5, best + 0.5))
    assert at_best < min(around)


def test_robust_dpo_is_dpo_in_expectation_over_flips() -> None:
    robust, plain = RobustDpo(RobustDpoConfig(beta=0.5, flip_rate=0.3)), Dpo(DpoConfig(beta=0.5))
    right, wrong = (robust(pair(*sides)).loss.item() for sides in ((-1.0, -3.0), (-3.0, -1.0)))
    assert 0.7 * right + 0.3 * wrong == pytest.approx(plain(pair(-1.0, -3.0)).loss.item(), rel=1e-5)


def test_a_mixture_is_the_weighted_sum() -> None:
    dpo, nll = Dpo(DpoConfig(beta=0.5)), ChosenNll()
    mixture = Mixture([("dpo", 0.8, dpo), ("chosen_nll", 0.2, nll)])
    one = pair(-2.0, -3.0)
    output = mixture(one)
    assert output.loss.item() == pytest.approx(0.8 * dpo(one).loss.item() + 0.2 * 2.0)
    assert output.metrics["objective/chosen_nll"] == pytest.approx(2.0)
    assert output.metrics["objective/accuracy"] == 1.0
    assert mixture.needs_reference
    assert not Mixture([("chosen_nll", 1.0, nll)]).needs_reference


def test_bco_by_hand() -> None:
    """Log-ratios 1 and -2 against a baseline of 0.5, beta 2: logits 1 and -5, the second of a bad completion."""
    one = batch(
        logps_N_T=torch.tensor([[0.0], [-3.0]]),
        mask_N_T=torch.ones(2, 1, dtype=torch.bool),
        ref_logps_N_T=torch.full((2, 1), -1.0),
        desirable_N=torch.tensor([True, False]),
        baseline=0.5,
        totals=StepTotals(sequences=2, tokens=2, max_tokens=1, desirable=1),
    )
    output = Bco(KtoConfig(beta=2.0, undesirable_weight=3.0))(one)
    expected = (math.log(1 + math.exp(-1)) + 3 * math.log(1 + math.exp(-5))) / 2
    assert output.loss.item() == pytest.approx(expected)
    assert output.metrics == pytest.approx({"objective/desirable_ratio": 1.0, "objective/undesirable_ratio": -2.0})


@pytest.mark.parametrize(
    ("objective", "what"),
    [(Dpo(DpoConfig()), "needs pairs"), (Bco(KtoConfig()), "needs completions marked good or bad")],
)
def test_pairs_and_labels_are_asked_for(objective: Any, what: str) -> None:
    with pytest.raises(HarnessError, match=what):
        objective(batch())
    with pytest.raises(HarnessError, match="reference policy"):
        objective(batch(pairs_M_2=torch.tensor([[0, 1]]), desirable_N=torch.tensor([True, False])))
