"""The unpaired updater on a tiny model: what counts as good and bad, to what effect, and against which baseline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import tiny_model
from tiny_training import mean_logp, models, plain_logps, scored_group, tokens

from harness.errors import HarnessError
from harness.protocols import RunContext
from harness_plugins.models.packing import TrainingCompletion, TrainingGroup, make_step
from harness_plugins.objectives.baselines import step_baseline
from harness_plugins.objectives.bco import Bco
from harness_plugins.objectives.configs import KtoConfig
from harness_plugins.objectives.kto import ApoZeroUnpaired, Kto
from harness_plugins.updaters.configs import UnpairedConfig
from harness_plugins.updaters.unpaired import UnpairedUpdater, label, mismatch

CONFIG = UnpairedConfig(dtype="float32", learning_rate=1e-2, groups_per_step=2)
GROUPS = [scored_group(seed, (0.5, 0.0, 1.0)) for seed in range(4)]
OBJECTIVES = {"kto": Kto, "apo_zero_unpaired": ApoZeroUnpaired, "bco": Bco}


def updater(context: RunContext, objective: str = "kto", **changes: Any) -> UnpairedUpdater:
    config = CONFIG.model_copy(update={"objective": objective, **changes})
    return UnpairedUpdater(config, context, objective=OBJECTIVES[objective](KtoConfig()))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_good_completions_get_ahead_of_bad_ones(objective: str, context: RunContext, tmp_path: Path) -> None:
    update = updater(context, objective, epochs=4).update(GROUPS, parent=None, out=tmp_path, seed=0)
    base, trained = models(context, update.checkpoint)

    def lead(model: Any) -> float:
        return sum(mean_logp(model, s, 2) - mean_logp(model, s, 1) for s in GROUPS)

    assert lead(trained) > lead(base) + 0.5


def test_good_bad_and_unknown_are_counted(context: RunContext, tmp_path: Path) -> None:
    data = [*GROUPS, scored_group(9, (None, 0.4))]
    metrics = updater(context).update(data, parent=None, out=tmp_path / "a", seed=0).metrics
    counts = [metrics[f"update/{kind}"] for kind in ("desirable", "undesirable", "unknown")]
    assert counts == [8, 5, 1]
    by_mean = updater(context, desirable="mean").update(data, parent=None, out=tmp_path / "b", seed=0).metrics
    # The mean of a group is 0.5, and 0.5 is not above it; a group with one verdict has nothing to be above of.
    assert [by_mean[f"update/{kind}"] for kind in ("desirable", "undesirable", "unknown")] == [4, 8, 2]


def test_an_empty_completion_is_counted_and_not_trained_on() -> None:
    good = GROUPS[0]
    completions = (replace(good.group.completions[0], token_ids=()), *good.group.completions[1:])
    labelled = label([replace(good, group=replace(good.group, completions=completions))], 0.5)
    assert (labelled.empty, labelled.good, labelled.bad) == (1, 1, 1)
    assert len(labelled.groups[0].completions) == 2


def test_kto_needs_two_prompts(context: RunContext, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="there is one prompt"):
        updater(context).update(GROUPS[:1], parent=None, out=tmp_path, seed=0)
    updater(context, "bco").update(GROUPS[:1], parent=None, out=tmp_path, seed=0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_base_model_can_be_the_reference(objective: str, context: RunContext, tmp_path: Path) -> None:
    metrics = updater(context, objective, reference="base", groups_per_step=4)
    figures = metrics.update(GROUPS, parent=None, out=tmp_path, seed=0).metrics
    assert figures["objective/desirable_ratio"] == pytest.approx(0, abs=1e-4)


def test_a_cut_off_completion_is_never_good() -> None:
    labelled = label([scored_group(1, (1.0, 1.0, 0.0), truncated=(0, 2))], 0.5)
    assert (labelled.good, labelled.bad, labelled.truncated) == (1, 1, 1)


def test_a_baseline_without_data_is_an_error() -> None:
    group = TrainingGroup(tokens(5, 1), (TrainingCompletion(tokens(3, 2)),))
    step = make_step([group], max_completion=0, max_tokens=100)
    for kind in ("kl", "mean", "median"):
        objective = Kto(KtoConfig())
        objective.step_baseline = kind
        with pytest.raises(HarnessError, match=f"wants the baseline '{kind}'"):
            step_baseline(objective, tiny_model(), step, 1.0)


def test_nothing_known_says_so(context: RunContext, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no completion of 1 groups"):
        updater(context).update([scored_group(1, (None, None))], parent=None, out=tmp_path, seed=0)


def test_mismatched_completions_are_those_of_another_prompt() -> None:
    def group(prompt: tuple[int, ...], answer: int) -> TrainingGroup:
        return TrainingGroup(prompt, (TrainingCompletion((answer,)),))

    groups = [group((1,), 10), group((1,), 11), group((2,), 12)]
    assert [g.completions[0].token_ids[0] for g in mismatch(groups)] == [12, 12, 11]
    assert [g.prompt_token_ids for g in mismatch(groups)] == [(1,), (1,), (2,)]


def test_the_baseline_of_bco_by_hand() -> None:
    """Log-ratios of 1 and 3 where good and of -2 where bad: (2 - 2) / 2 = 0; with no bad ones it is 2."""
    model = tiny_model().eval()
    prompt = tokens(5, 1)
    answers = [tokens(3, 10 + i) for i in range(3)]

    def logps(answer: tuple[int, ...]) -> tuple[float, ...]:
        with torch.no_grad():
            return tuple(plain_logps(model, prompt, answer).tolist())

    def completion(i: int, ratio: float, good: bool) -> TrainingCompletion:
        known = logps(answers[i])
        return TrainingCompletion(answers[i], ref_logps=(known[0] - ratio, *known[1:]), desirable=good)

    three = (completion(0, 1.0, True), completion(1, -2.0, False), completion(2, 3.0, True))
    for completions, expected in ((three, 0.0), ((three[0], three[2]), 2.0)):
        step = make_step([TrainingGroup(prompt, completions)], max_completion=0, max_tokens=100)
        assert step_baseline(Bco(KtoConfig()), model, step, 1.0) == pytest.approx(expected, abs=1e-4)


def test_kto_estimates_a_divergence_that_is_not_negative() -> None:
    model = tiny_model().eval()
    group = TrainingGroup(tokens(5, 1), (TrainingCompletion(tokens(3, 2), ref_logps=(0.0,) * 3, desirable=True),))
    step = make_step([group], max_completion=0, max_tokens=100)
    step = replace(step, mismatched=step.rows)  # a reference of probability 1: every log-ratio is below 0
    assert step_baseline(Kto(KtoConfig()), model, step, 1.0) == 0.0
