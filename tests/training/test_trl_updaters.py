"""The updaters that drive TRL: our token ids reach its losses, which start where they must and go the right way."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tiny_training import mean_logp, models, scored_group
from tiny_trl import DEMONSTRATIONS, EMBEDDING, GROUPS, IA3, LORA, VERA, Inputs, dpo, kto, sft

from harness.errors import UpdateError
from harness.protocols import ModelRef, RunContext
from harness.types import ScoredGroup
from harness_plugins.models.packing import TrainingCompletion, TrainingGroup
from harness_plugins.trl.kto import round_robin
from harness_plugins.updaters.configs import PreferenceConfig
from harness_plugins.updaters.preference import build_pairs


def sequences(batch: dict[str, Any], prefix: str = "") -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(prompt, completion) of each row, as TRL's masks cut it."""
    result = []
    for ids, mask, completion in zip(
        batch[prefix + "input_ids"], batch[prefix + "attention_mask"], batch[prefix + "completion_mask"], strict=True
    ):
        length, split = int(mask.sum()), int(mask.sum() - completion.sum())
        assert completion[split:length].all()
        result.append((tuple(ids[:split].tolist()), tuple(ids[split:length].tolist())))
    return result


def margin(model: Any, scored: ScoredGroup, better: int = 0, worse: int = 1) -> float:
    return mean_logp(model, scored, better) - mean_logp(model, scored, worse)


# ---------------------------------------------------------------- sft


def test_sft_starts_at_the_likelihood_of_the_rows_and_learns_them(trl_context: RunContext, tmp_path: Path) -> None:
    update = sft(trl_context).update(DEMONSTRATIONS, parent=None, out=tmp_path, seed=0)
    base, trained = models(trl_context, update.checkpoint)
    lengths = [len(scored.group.completions[0].token_ids) for scored in DEMONSTRATIONS]
    nll = -sum(mean_logp(base, scored, 0) * length for scored, length in zip(DEMONSTRATIONS, lengths, strict=True))
    assert update.metrics["update/first_loss"] == pytest.approx(nll / sum(lengths), rel=1e-4)
    assert update.metrics["update/last_loss"] < 0.9 * update.metrics["update/first_loss"]
    assert (update.metrics["update/steps"], update.metrics["update/tokens"]) == (6, 6 * sum(lengths))
    assert update.metrics["trl/learning_rate"] == pytest.approx(1e-2)
    for scored in DEMONSTRATIONS:
        assert mean_logp(trained, scored, 0) > mean_logp(base, scored, 0)


def test_sft_trains_on_exactly_the_accepted_ids(seen: Inputs, trl_context: RunContext, tmp_path: Path) -> None:
    cut_off = scored_group(9, (1.0, None), truncated=(0,))
    metrics = sft(trl_context, batch=4, epochs=1).update([*DEMONSTRATIONS, cut_off], parent=None, out=tmp_path, seed=0)
    found = set()
    for batch in seen:
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            assert (ids[labels != -100] == labels[labels != -100]).all()
            answer = tuple(labels[labels != -100].tolist())
            found.add((tuple(ids[: int(mask.sum()) - len(answer)].tolist()), answer))
    groups = [scored.group for scored in DEMONSTRATIONS]
    assert found == {(group.prompt_token_ids, group.completions[0].token_ids) for group in groups}
    counts = [metrics.metrics[f"update/{name}"] for name in ("demonstrations", "below_min_reward", "truncated")]
    assert counts == [6, 6, 1]


# ---------------------------------------------------------------- dpo


@pytest.mark.parametrize(
    "adapter", [None, LORA, IA3, VERA, EMBEDDING], ids=["none", "lora", "ia3", "vera", "lora on embeddings"]
)
def test_dpo_starts_at_log_2_from_its_parent(adapter: Any, trl_model: ModelRef, tmp_path: Path) -> None:
    """Of the last three adapters TRL 1.16 copies nothing, or not all, into its reference."""
    context = RunContext(model=trl_model, adapter=adapter or LORA)
    parent = None
    if adapter is not None:
        parent = sft(context, learning_rate=3e-2).update(DEMONSTRATIONS, parent=None, out=tmp_path / "sft", seed=0)
        base, trained = models(context, parent.checkpoint)
        assert abs(margin(trained, GROUPS[0]) - margin(base, GROUPS[0])) > 0.01  # a wrong reference would show
    checkpoint = parent.checkpoint if parent else None
    update = dpo(context, args={"beta": 0.5}).update(GROUPS, parent=checkpoint, out=tmp_path / "dpo", seed=0)
    assert update.metrics["update/first_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert update.metrics["update/last_loss"] < math.log(2)


def test_dpo_widens_the_margins(trl_context: RunContext, tmp_path: Path) -> None:
    update = dpo(trl_context).update(GROUPS, parent=None, out=tmp_path, seed=0)
    base, trained = models(trl_context, update.checkpoint)
    for scored in GROUPS:
        assert margin(trained, scored) > margin(base, scored)


@pytest.mark.parametrize("pairs", ["best_worst", "all"])
def test_dpo_compares_exactly_our_pairs(pairs: Any, seen: Inputs, trl_context: RunContext, tmp_path: Path) -> None:
    groups = [*GROUPS, scored_group(8, (1.0, 0.0), truncated=(0,))]
    update = dpo(trl_context, pairs=pairs, epochs=1, batch=3).update(groups, parent=None, out=tmp_path, seed=0)
    found = []
    for batch in seen:
        rows = sequences(batch)
        half = len(rows) // 2
        found += [(*chosen, rejected[1]) for chosen, rejected in zip(rows[:half], rows[half:], strict=True)]
        assert [prompt for prompt, _ in rows[:half]] == [prompt for prompt, _ in rows[half:]]
    expected = [
        (group.prompt_token_ids, group.completions[better].token_ids, group.completions[worse].token_ids)
        for group in build_pairs(groups, PreferenceConfig(pairs=pairs)).groups
        for better, worse in group.pairs
    ]
    assert sorted(found) == sorted(expected)
    assert update.metrics["update/pairs"] == len(expected) == (4 if pairs == "best_worst" else 12)


# ---------------------------------------------------------------- kto


@pytest.mark.parametrize("with_parent", [False, True])
def test_kto_starts_at_a_half_and_tells_good_from_bad(
    with_parent: bool, trl_context: RunContext, tmp_path: Path
) -> None:
    parent = None
    if with_parent:
        parent = sft(trl_context).update(DEMONSTRATIONS, parent=None, out=tmp_path / "sft", seed=0).checkpoint
    update = kto(trl_context, args={"beta": 0.5}).update(GROUPS, parent=parent, out=tmp_path / "kto", seed=0)
    assert update.metrics["update/first_loss"] == pytest.approx(0.5, abs=1e-5)
    assert update.metrics["update/last_loss"] < 0.5
    base, trained = models(trl_context, update.checkpoint)
    start = base if parent is None else models(trl_context, parent)[1]
    assert sum(margin(trained, scored) - margin(start, scored) for scored in GROUPS) > 0


def test_kto_weighs_good_and_bad(trl_context: RunContext, tmp_path: Path) -> None:
    groups = [scored_group(seed, (1.0, 0.0, 1.0)) for seed in range(2)]
    weights = {"desirable_weight": 1.5, "undesirable_weight": 0.6}
    update = kto(trl_context, args=weights, batch=6, epochs=1).update(groups, parent=None, out=tmp_path, seed=0)
    assert update.metrics["update/first_loss"] == pytest.approx(0.5 * (4 * 1.5 + 2 * 0.6) / 6, abs=1e-5)


def test_kto_judges_exactly_our_completions_beside_those_of_others(
    seen: Inputs, trl_context: RunContext, tmp_path: Path
) -> None:
    groups = [*GROUPS, scored_group(6, (0.9, None))]  # 13 known: the last would be alone
    update = kto(trl_context, epochs=1).update(groups, parent=None, out=tmp_path, seed=0)
    found = []
    for batch in seen:
        rows, others = sequences(batch), sequences(batch, "KL_")
        found += [(*row, label) for row, label in zip(rows, batch["label"].tolist(), strict=True)]
        answers = [answer for _, answer in rows]
        assert others == [(prompt, answers[i - 1]) for i, (prompt, _) in enumerate(rows)]
        assert all(prompt != rows[i - 1][0] for i, (prompt, _) in enumerate(rows))
    expected = {
        (scored.group.prompt_token_ids, completion.token_ids, reward >= 0.5)
        for scored in groups
        for completion, reward in zip(scored.group.completions, scored.rewards, strict=True)
        if reward is not None
    }
    assert len(found) == len(set(found)) == 12
    assert set(found) < expected
    counts = [update.metrics[f"update/{name}"] for name in ("desirable", "undesirable", "unknown", "left_out")]
    assert counts == [9, 4, 1, 1]


def test_kto_needs_two_prompts_where_it_compares_them(trl_context: RunContext, tmp_path: Path) -> None:
    with pytest.raises(UpdateError, match="there is one prompt"):
        kto(trl_context).update(GROUPS[:1], parent=None, out=tmp_path / "no", seed=0)
    update = kto(trl_context, args={"loss_type": "apo_zero_unpaired"}).update(
        GROUPS[:1], parent=None, out=tmp_path / "yes", seed=0
    )
    assert update.metrics["update/first_loss"] == pytest.approx(0.5, abs=1e-5)


def test_neighbours_have_different_prompts_as_far_as_can_be() -> None:
    groups = [
        TrainingGroup((seed,), tuple(TrainingCompletion((seed, i), desirable=True) for i in range(size)))
        for seed, size in enumerate((1, 3, 3))
    ]
    rows = round_robin(groups, random.Random(0))
    assert sorted(tuple(row["completion_ids"]) for row in rows) == [(0, 0), *[(s, i) for s in (1, 2) for i in range(3)]]
    prompts = [row["prompt_ids"] for row in rows]
    assert all(a != b for a, b in pairwise(prompts))
    firsts = [tuple(round_robin(groups, random.Random(seed))[0]["prompt_ids"]) for seed in range(9)]
    assert len(set(firsts)) == 3
