"""The two terms that every group objective can add: the penalty for leaving a reference, and the entropy bonus."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import tiny_model
from tiny_training import scored_group, tokens, with_lora

from harness.errors import HarnessError
from harness.protocols import RunContext, SequenceBatch, StepTotals
from harness_plugins.models.packing import TrainingCompletion, TrainingGroup, make_step
from harness_plugins.models.token_logps import token_logps, token_logps_and_entropies
from harness_plugins.objectives.cispo import Cispo
from harness_plugins.objectives.configs import CispoConfig, ClippedConfig, GspoConfig
from harness_plugins.objectives.grpo import Bnpo, Dapo, DrGrpo, Grpo
from harness_plugins.objectives.gspo import Gspo
from harness_plugins.objectives.rloo import Rloo
from harness_plugins.objectives.surrogate import reference_kl
from harness_plugins.training.steps import sequence_batch
from harness_plugins.updaters.configs import GroupConfig
from harness_plugins.updaters.group import GroupUpdater

ESTIMATORS = ("k1", "k2", "k3")
FAMILY: list[tuple[Any, Any]] = [
    *((objective, ClippedConfig) for objective in (Grpo, DrGrpo, Dapo, Bnpo, Rloo)),
    (Gspo, GspoConfig),
    (Cispo, CispoConfig),
]


def one_token(logps_N: torch.Tensor, **fields: Any) -> SequenceBatch:
    """N completions of one token, without advantage."""
    n = len(logps_N)
    mask_N_T = torch.ones(n, 1, dtype=torch.bool)
    return SequenceBatch(logps_N[:, None], mask_N_T, StepTotals(n, n, 1), torch.zeros(n), **fields)


# ---------------------------------------------------------------- the penalty


@pytest.mark.parametrize(("objective", "config"), FAMILY)
@pytest.mark.parametrize(
    ("estimator", "k"), [("k1", math.log(2)), ("k2", math.log(2) ** 2 / 2), ("k3", 0.5 - 1 + math.log(2))]
)
def test_estimators_by_hand(estimator: Any, k: float, objective: Any, config: Any) -> None:
    """Twice as likely as under the reference, three times as likely as when it was sampled: 3 k."""
    logps_N = torch.tensor([math.log(0.6)])
    batch = one_token(
        logps_N, ref_logps_N_T=torch.tensor([[math.log(0.3)]]), old_logps_N_T=torch.tensor([[math.log(0.2)]])
    )
    output = objective(config(kl_coef=0.1, kl_estimator=estimator))(batch)
    assert output.metrics["objective/reference_kl"] == pytest.approx(3 * k, rel=1e-5)
    assert output.loss.item() == pytest.approx(0.1 * 3 * k, rel=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_mean_of_k1_and_k3_over_samples_is_the_kl(estimator: Any) -> None:
    """Samples of an older policy, weighted by the ratio: within four standard errors for k1 and k3. k2 is biased."""
    generator = torch.Generator().manual_seed(3)
    policy, older, reference = (torch.randn(6, generator=generator).log_softmax(-1) for _ in range(3))
    exact = (policy.exp() * (policy - reference)).sum().item()
    ids_N = torch.multinomial(older.exp(), 200_000, replacement=True, generator=generator)
    batch = one_token(policy[ids_N], ref_logps_N_T=reference[ids_N][:, None], old_logps_N_T=older[ids_N][:, None])
    k_N_T = reference_kl(batch.logps_N_T - older[ids_N][:, None], batch, "test", estimator)
    error = 4 * k_N_T.std().item() / math.sqrt(len(ids_N))
    assert error < 0.05 * exact
    assert (abs(k_N_T.mean().item() - exact) < error) == (estimator != "k2")


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("off_policy", [False, True])
def test_the_penalty_pulls_along_the_gradient_of_the_kl(estimator: Any, off_policy: bool) -> None:
    """Over all tokens of a small vocabulary, the expected gradient is that of the exact KL(pi || ref)."""
    logits = torch.tensor([0.3, -0.7, 1.1], requires_grad=True)
    reference = torch.log_softmax(torch.tensor([-0.2, 0.4, 0.5]), -1)
    logps = torch.log_softmax(logits, -1)
    sampler = torch.log_softmax(torch.tensor([0.1, 0.2, -0.6]), -1) if off_policy else logps.detach()
    (exact,) = torch.autograd.grad((logps.exp() * (logps - reference)).sum(), logits, retain_graph=True)
    expected = torch.zeros(3)
    for token in range(3):
        known = {"ref_logps_N_T": reference[token].view(1, 1), "old_logps_N_T": sampler[token].view(1, 1)}
        loss = Grpo(ClippedConfig(kl_coef=1.0, kl_estimator=estimator))(one_token(logps[token].view(1), **known)).loss
        expected += sampler[token].exp().item() * torch.autograd.grad(loss, logits, retain_graph=True)[0]
    torch.testing.assert_close(expected, exact, atol=1e-6, rtol=0)


# ---------------------------------------------------------------- the entropy


def test_entropies_equal_those_of_the_categorical_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over three chunks, in value and gradient, beside the log-probs of `token_logps`."""
    monkeypatch.setattr("harness_plugins.models.token_logps.CACHED_BYTES", 128 * 50 * 4)
    logits_S_V = (3 * torch.randn(300, 50)).requires_grad_()
    target_S = torch.randint(0, 50, (300,))
    weights_S = torch.randn(300)
    logps_S, entropies_S = token_logps_and_entropies(logits_S_V, target_S, 1.3)
    theirs_S = torch.distributions.Categorical(logits=logits_S_V / 1.3).entropy()
    torch.testing.assert_close(entropies_S, theirs_S, atol=1e-5, rtol=0)
    torch.testing.assert_close(logps_S, token_logps(logits_S_V, target_S, 1.3), atol=0, rtol=0)
    (gradient,) = torch.autograd.grad((weights_S * entropies_S).sum(), logits_S_V)
    (expected,) = torch.autograd.grad((weights_S * theirs_S).sum(), logits_S_V)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=0)


def test_no_fp32_distribution_is_held_for_the_backward_pass() -> None:
    logits_S_V = torch.randn(300, 50, dtype=torch.bfloat16, requires_grad=True)
    held: list[tuple[torch.dtype, int]] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        held.append((tensor.dtype, tensor.ndim))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logps_S, entropies_S = token_logps_and_entropies(logits_S_V, torch.zeros(300, dtype=torch.long))
        (logps_S * entropies_S).sum()
    assert (torch.float32, 1) in held  # the product's factors, so the hook does see what is held
    assert (torch.float32, 2) not in held


@pytest.mark.parametrize("family", ["llama", "mistral_sliding"])
def test_a_packed_row_has_the_entropies_of_plain_forward_passes(family: str) -> None:
    """The second family computes completions one by one."""
    model = with_lora(tiny_model(family)).eval()
    prompt, answers = tokens(9, 1), [tokens(n, 10 + n) for n in (4, 1, 6)]
    group = TrainingGroup(prompt, tuple(TrainingCompletion(answer) for answer in answers))
    step = make_step([group], max_completion=8, max_tokens=1000)
    batch = sequence_batch(model, step.rows[0], step.totals, 0.7, with_entropy=True)
    assert batch.entropies_N_T is not None
    for n, answer in enumerate(answers):
        logits_T_V = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1] / 0.7
        expected_T = torch.distributions.Categorical(logits=logits_T_V).entropy()
        torch.testing.assert_close(batch.entropies_N_T[n, : len(answer)], expected_T, atol=1e-4, rtol=0)
        assert not batch.entropies_N_T[n, len(answer) :].any()
    assert sequence_batch(model, step.rows[0], step.totals, 0.7).entropies_N_T is None


@pytest.mark.parametrize(("objective", "config"), FAMILY)
def test_the_bonus_is_the_mean_over_tokens(objective: Any, config: Any) -> None:
    """Entropies of 1, 2 and 4 nats in completions of two tokens and one; the fourth is padding."""
    entropies_N_T = torch.tensor([[1.0, 2.0], [4.0, 99.0]], requires_grad=True)
    batch = SequenceBatch(
        logps_N_T=torch.full((2, 2), -1.0),
        mask_N_T=torch.tensor([[True, True], [True, False]]),
        totals=StepTotals(sequences=2, tokens=3, max_tokens=5),
        advantages_N=torch.tensor([1.0, -2.0]),
        entropies_N_T=entropies_N_T,
    )
    plain, bonus = objective(config()), objective(config(entropy_coef=0.3))
    assert (plain.needs_entropy, bonus.needs_entropy) == (False, True)
    output = bonus(batch)
    assert output.loss.item() == pytest.approx(plain(batch).loss.item() - 0.3 * 7 / 3)
    assert output.metrics["objective/entropy"] == pytest.approx(7 / 3)
    assert "objective/entropy" not in plain(batch).metrics
    (gradient,) = torch.autograd.grad(output.loss, entropies_N_T)
    torch.testing.assert_close(gradient, torch.tensor([[-0.1, -0.1], [-0.1, 0.0]]))
    with pytest.raises(HarnessError, match="computes no entropies"):
        bonus(dataclasses.replace(batch, entropies_N_T=None))


def test_the_group_updater_gives_the_entropies(context: RunContext, tmp_path: Path) -> None:
    """A large bonus raises the entropy from step to step; without one it is not computed."""
    config = GroupConfig(dtype="float32", learning_rate=1e-2, groups_per_step=4, old_logps="recompute", epochs=1)
    groups = [scored_group(seed, (1.0, 0.0, 0.5)) for seed in range(4)]

    def entropy(name: str, epochs: int, **options: Any) -> float | None:
        chosen = config.model_copy(update={"epochs": epochs})
        updater = GroupUpdater(chosen, context, objective=Grpo(ClippedConfig(**options)))
        update = updater.update(groups, parent=None, out=tmp_path / name, seed=0)
        return update.metrics.get("objective/entropy")

    first, mean_of_four = entropy("a", 1, entropy_coef=10.0), entropy("b", 4, entropy_coef=10.0)
    assert first is not None
    assert mean_of_four is not None
    assert 0 < first < mean_of_four < math.log(211)
    assert entropy("c", 1) is None
