"""The preference objectives: loss and gradient equal TRL's on the same tiny model and pairs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import pytest
import torch
from datasets import Dataset
from tiny_families import VOCABULARY, tiny_model
from tiny_training import assert_same_gradients, gradients, tokens, with_lora
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

from harness.protocols import Objective, SequenceBatch, StepTotals
from harness_plugins import configs_objectives as settings
from harness_plugins.baselines import step_baseline
from harness_plugins.objectives.apo import ApoDown, ApoZero
from harness_plugins.objectives.cpo import Cpo
from harness_plugins.objectives.discopop import Discopop
from harness_plugins.objectives.dpo import Dpo, DpoNorm, RobustDpo
from harness_plugins.objectives.exo import Exo
from harness_plugins.objectives.hinge import Hinge
from harness_plugins.objectives.ipo import Ipo
from harness_plugins.objectives.kto import ApoZeroUnpaired, Kto
from harness_plugins.objectives.nca import Nca
from harness_plugins.objectives.orpo import Orpo
from harness_plugins.objectives.pairs import sides
from harness_plugins.objectives.simpo import Simpo
from harness_plugins.objectives.sppo import Sppo
from harness_plugins.packing import TrainingCompletion, TrainingGroup, make_step, pack
from harness_plugins.training import sequence_batch
from harness_plugins.unpaired import mismatch


def pair_groups() -> list[TrainingGroup]:
    """Three prompts, the second with two pairs that share their rejected completion; margins of both signs."""
    generator = torch.Generator().manual_seed(7)
    model = with_lora(tiny_model()).eval()
    groups = []
    for p, pairs in enumerate([((0, 1),), ((2, 0), (1, 0)), ((1, 0),)]):
        prompt = tokens(5 + 2 * p, p)
        completions = []
        for g in range(1 + max(max(pair) for pair in pairs)):
            answer = tokens(3 + 2 * g + p, 80 + 10 * p + g)
            with torch.no_grad():
                logits_T_V = model(torch.tensor([prompt + answer])).logits[0]
            logps_T = logits_T_V.log_softmax(-1)[range(len(prompt) - 1, len(prompt + answer) - 1), list(answer)]
            reference = (logps_T + 0.4 * torch.randn(len(answer), generator=generator)).tolist()
            completions.append(TrainingCompletion(answer, ref_logps=tuple(reference)))
        groups.append(TrainingGroup(prompt, tuple(completions), pairs))
    return groups


def trl_inputs(groups: list[TrainingGroup]) -> dict[str, Any]:
    pairs = [(g.prompt_token_ids, g.completions[c], g.completions[r]) for g in groups for c, r in g.pairs]
    rows = [(prompt, chosen) for prompt, chosen, _ in pairs] + [(prompt, rejected) for prompt, _, rejected in pairs]
    width = max(len(prompt) + len(c.token_ids) for prompt, c in rows)

    def table(values: list[tuple[int, ...]]) -> torch.Tensor:
        return torch.tensor([value + (0,) * (width - len(value)) for value in values])

    references = torch.tensor([sum(c.ref_logps or ()) for _, c in rows])
    chosen, rejected = references.chunk(2)
    return {
        "input_ids": table([prompt + c.token_ids for prompt, c in rows]),
        "attention_mask": table([(1,) * len(prompt + c.token_ids) for prompt, c in rows]),
        "completion_mask": table([(0,) * len(prompt) + (1,) * len(c.token_ids) for prompt, c in rows]),
        "ref_chosen_logps": chosen,
        "ref_rejected_logps": rejected,
    }


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({f"t{i}": i for i in range(VOCABULARY)}, unk_token="t3"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="t0", eos_token="t2")


def trl_options(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def trl_loss(folder: Path, groups: list[TrainingGroup], **options: Any) -> tuple[float, dict[str, torch.Tensor]]:
    trainer = DPOTrainer(
        model=tiny_model(),
        ref_model=tiny_model(),
        args=DPOConfig(**trl_options(folder), **options),
        train_dataset=Dataset.from_list([{"prompt": "t5 t6", "chosen": "t7", "rejected": "t8"}]),
        processing_class=tokenizer(),
    )
    trainer.precompute_ref_logps = True  # the references are in the inputs
    trainer.model.train()  # no dropout in these models
    loss = trainer._compute_loss(trainer.model, trl_inputs(groups), return_outputs=False)
    loss.backward()
    return loss.item(), gradients(trainer.model)


def ours(objective: Objective, groups: list[TrainingGroup], budget: int) -> tuple[float, dict[str, torch.Tensor]]:
    model = tiny_model()
    step = make_step(groups, max_completion=0, max_tokens=budget)
    loss = 0.0
    for row in step.rows:
        share = objective(sequence_batch(model, row, step.totals, 1.0)).loss
        share.backward()
        loss += share.item()
    return loss, gradients(model)


DPO_FAMILY: dict[str, tuple[Objective, dict[str, Any]]] = {
    "dpo": (Dpo(settings.DpoConfig(beta=0.3)), {"loss_type": "sigmoid", "beta": 0.3}),
    "dpo_norm": (DpoNorm(settings.DpoConfig(beta=0.3)), {"loss_type": "sigmoid_norm", "beta": 0.3}),
    "robust_dpo": (
        RobustDpo(settings.RobustDpoConfig(beta=0.3, flip_rate=0.2)),
        {"loss_type": "robust", "beta": 0.3, "label_smoothing": 0.2},
    ),
    "ipo": (Ipo(settings.BetaConfig(beta=0.3)), {"loss_type": "ipo", "beta": 0.3}),
    "hinge": (Hinge(settings.BetaConfig(beta=1.5)), {"loss_type": "hinge", "beta": 1.5}),
    "exo": (
        Exo(settings.ExoConfig(beta=0.3, label_smoothing=0.01)),
        {"loss_type": "exo_pair", "beta": 0.3, "label_smoothing": 0.01},
    ),
    "nca": (Nca(settings.BetaConfig(beta=0.3)), {"loss_type": "nca_pair", "beta": 0.3}),
    "sppo": (Sppo(settings.BetaConfig(beta=0.3)), {"loss_type": "sppo_hard", "beta": 0.3}),
    "apo_zero": (ApoZero(settings.BetaConfig(beta=0.3)), {"loss_type": "apo_zero", "beta": 0.3}),
    "apo_down": (ApoDown(settings.BetaConfig(beta=0.3)), {"loss_type": "apo_down", "beta": 0.3}),
    "discopop": (
        Discopop(settings.DiscopopConfig(beta=0.3, tau=0.4)),
        {"loss_type": "discopop", "beta": 0.3, "discopop_tau": 0.4},
    ),
}


@pytest.mark.parametrize("budget", [0, 30, 1000], ids=["one pair a row", "split groups", "one row"])
@pytest.mark.parametrize("name", DPO_FAMILY)
def test_loss_and_gradient_equal_trl(name: str, budget: int, tmp_path: Path) -> None:
    objective, options = DPO_FAMILY[name]
    groups = pair_groups()
    loss, gradient = ours(objective, groups, budget)
    expected_loss, expected = trl_loss(tmp_path, groups, **options)
    assert loss == pytest.approx(expected_loss, rel=1e-5, abs=1e-5)
    assert_same_gradients(gradient, expected, 2e-5)


# ---------------------------------------------------------------- single completions


def labelled_groups() -> list[TrainingGroup]:
    """The completions of the pairs above, good and bad by turns."""
    return [
        replace(
            group,
            pairs=(),
            completions=tuple(replace(c, desirable=i % 2 == 0) for i, c in enumerate(group.completions)),
        )
        for group in pair_groups()
    ]


def trl_kto(
    folder: Path, groups: list[TrainingGroup], others: list[TrainingGroup], **options: Any
) -> tuple[float, dict[str, torch.Tensor]]:
    rows = [
        {"prompt": "t5 t6", "completion": "t7", "label": True},
        {"prompt": "t5", "completion": "t8", "label": False},
    ]
    trainer = KTOTrainer(
        model=tiny_model(),
        ref_model=tiny_model(),
        args=KTOConfig(**trl_options(folder), per_device_train_batch_size=2, **options),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer(),
    )
    trainer.precompute_ref_logps = True
    trainer.model.train()
    inputs: dict[str, Any] = {}
    for prefix, data in (("", groups), ("KL_", others)):
        known = [(g.prompt_token_ids, c) for g in data for c in g.completions]
        width = max(len(prompt) + len(c.token_ids) for prompt, c in known)
        for name, parts in (("input_ids", None), ("attention_mask", (1, 1)), ("completion_mask", (0, 1))):
            table = []
            for prompt, c in known:
                pair = (prompt, c.token_ids)
                row = [v if parts is None else parts[side] for side in (0, 1) for v in pair[side]]
                table.append(row + [0] * (width - len(row)))
            inputs[prefix + name] = torch.tensor(table)
        inputs["ref_KL_logps" if prefix else "ref_logps"] = torch.tensor([sum(c.ref_logps or ()) for _, c in known])
    inputs["label"] = torch.tensor([c.desirable for g in groups for c in g.completions])
    loss = trainer._compute_loss(trainer.model, inputs, return_outputs=False)
    loss.backward()
    return loss.item(), gradients(trainer.model)


@pytest.mark.parametrize("budget", [0, 30, 1000], ids=["one a row", "split groups", "one row"])
@pytest.mark.parametrize(("objective", "loss_type"), [(Kto, "kto"), (ApoZeroUnpaired, "apo_zero_unpaired")])
def test_unpaired_loss_and_gradient_equal_trl(objective: Any, loss_type: str, budget: int, tmp_path: Path) -> None:
    groups = labelled_groups()
    # References that make the KL estimate positive: at 0 it would not show.
    others = [
        replace(g, completions=tuple(replace(c, ref_logps=(-9.0,) * len(c.token_ids)) for c in g.completions))
        for g in mismatch(groups)
    ]
    made = objective(settings.KtoConfig(beta=0.05, desirable_weight=1.3, undesirable_weight=0.7))
    model = tiny_model()
    step = make_step(groups, max_completion=0, max_tokens=budget)
    step = replace(step, mismatched=pack(others, max_tokens=budget))
    baseline = step_baseline(made, model, step, 1.0)
    assert (baseline > 1) == (objective is Kto)
    loss = 0.0
    for row in step.rows:
        share = made(replace(sequence_batch(model, row, step.totals, 1.0), baseline=baseline)).loss
        share.backward()
        loss += share.item()
    weights = {"desirable_weight": 1.3, "undesirable_weight": 0.7}
    expected_loss, expected = trl_kto(
        tmp_path, groups, others, loss_type=loss_type, beta=0.05, train_sampling_strategy="sequential", **weights
    )
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert_same_gradients(gradients(model), expected, 2e-5)


# ---------------------------------------------------------------- without reference: TRL's loss functions on log-probs

CHOSEN, REJECTED = [-3.0, -7.5, -2.0], [-4.0, -6.0, -2.5]
LENGTHS = torch.tensor([5, 3, 4, 2, 5, 3])


def batch(logps_N: torch.Tensor) -> SequenceBatch:
    """Completions of equal tokens with these sums of log-probs, padded to 5; completion i is chosen over i + 3."""
    mask_N_T = torch.arange(5) < LENGTHS[:, None]
    return SequenceBatch(
        logps_N_T=(logps_N / LENGTHS)[:, None] * mask_N_T,
        mask_N_T=mask_N_T,
        totals=StepTotals(sequences=6, tokens=22, max_tokens=0, pairs=3),
        pairs_M_2=torch.tensor([[0, 3], [1, 4], [2, 5]]),
    )


def trl_cpo(loss_type: str, **options: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    trainer = SimpleNamespace(
        alpha=0.0, label_smoothing=0.0, loss_type=loss_type, accelerator=SimpleNamespace(device="cpu"), **options
    )

    def loss(logps_N: torch.Tensor) -> torch.Tensor:
        by_token = logps_N / LENGTHS if loss_type == "simpo" else logps_N
        losses, *_ = CPOTrainer.cpo_loss(trainer, *by_token.chunk(2))
        # Beside it TRL has the likelihood of all chosen tokens of a batch; ours is a mean by pair.
        nll = 0.0 if loss_type == "simpo" else -(logps_N / LENGTHS)[:3].mean() * 0.7
        return losses.mean() + nll

    return loss


def trl_orpo(logps_N: torch.Tensor) -> torch.Tensor:
    trainer = SimpleNamespace(beta=0.4, accelerator=SimpleNamespace(device="cpu"))
    losses, *_ = ORPOTrainer.odds_ratio_loss(trainer, *(logps_N / LENGTHS).chunk(2))
    return -(logps_N / LENGTHS)[:3].mean() - losses.mean()


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Simpo(settings.SimpoConfig(beta=2.5, gamma=0.6)), trl_cpo("simpo", beta=2.5, simpo_gamma=0.6)),
        (Cpo(settings.CpoConfig(beta=0.3, nll_weight=0.7)), trl_cpo("sigmoid", beta=0.3)),
        (Orpo(settings.OrpoConfig(beta=0.4)), trl_orpo),
    ],
    ids=["simpo", "cpo", "orpo"],
)
def test_reference_free_losses_equal_trl(objective: Objective, expected: Callable[[torch.Tensor], Any]) -> None:
    logps_N = torch.tensor(CHOSEN + REJECTED, requires_grad=True)
    loss, target = objective(batch(logps_N)).loss, expected(logps_N)
    assert loss.item() == pytest.approx(target.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, logps_N)
    (expected_gradient,) = torch.autograd.grad(target, logps_N)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-6, rtol=1e-5)


def test_the_pairs_above_are_on_both_sides_of_the_hinge() -> None:
    """Otherwise the hinge would be compared on one side only."""
    step = make_step(pair_groups(), max_completion=0, max_tokens=1000)
    chosen, rejected = sides(sequence_batch(tiny_model(), step.rows[0], step.totals, 1.0), "test", with_reference=True)
    margins_M = 1.5 * (chosen.ratio_M - rejected.ratio_M)
    assert (margins_M < 1).any()
    assert (margins_M > 1).any()
