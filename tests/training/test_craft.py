"""Training craft: an update that is cut short goes on to the same end, stops early, and gives up when it must."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tiny_training import mean_logp, models, scored_group

from harness.errors import ConfigError, UpdateError
from harness.plugins import load_registry
from harness.protocols import RunContext, SilentProgress
from harness.types import AdapterCheckpoint, Sampling
from harness_plugins.models.adapters import load_policy
from harness_plugins.models.packing import hold_out
from harness_plugins.training.fitting import loss_on, midway
from harness_plugins.updaters.configs import GroupConfig, PreferenceConfig, SftConfig
from harness_plugins.updaters.group import GroupUpdater
from harness_plugins.updaters.preference import PreferenceUpdater
from harness_plugins.updaters.sft import SftUpdater

GROUPS = [scored_group(i, (1.0, 0.0, 0.4)) for i in range(8)]
SFT: dict[str, Any] = {"dtype": "float32", "batch": 2, "epochs": 3, "learning_rate": 1e-3, "min_reward": 0.4}
PREFERENCE: dict[str, Any] = {"dtype": "float32", "groups_per_step": 2, "epochs": 3, "learning_rate": 1e-3}


@pytest.fixture
def context(context: RunContext) -> RunContext:
    return dataclasses.replace(context, components=load_registry())


class Killed(BaseException):
    pass


class KillsAfter(SilentProgress):
    """As if the process died in the middle of an update."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator[Any]:
        def advance(amount: float = 1, **figures: Any) -> None:
            if description == "update":
                self.left -= 1
                if self.left < 0:
                    raise Killed

        yield advance


def test_an_update_that_had_stopped_does_not_go_on(context: RunContext, tmp_path: Path) -> None:
    """Killed after its last step, and before the adapter was sealed: the resumed update has nothing left to train."""
    stopping = {"early_stopping": "loss", "eval_steps": 1, "patience": 2, "validation": 0.25}
    config = SftConfig(**{**SFT, "learning_rate": 3e-3, "epochs": 12}, **stopping, save_steps=1)
    whole = SftUpdater(config, context).update(GROUPS, parent=None, out=tmp_path / "whole", seed=0)
    assert whole.metrics["update/steps"] < 36

    class DiesSealing(SftUpdater):
        def seal(self, *args: Any, **kwargs: Any) -> Any:
            raise Killed

    there = dataclasses.replace(context, scratch=tmp_path / "midway")
    with pytest.raises(Killed):
        DiesSealing(config, there).update(GROUPS, parent=None, out=tmp_path / "cut", seed=0)
    for mark in (tmp_path / "midway").glob("*/harness.json"):  # the plan names the class of the updater
        mark.write_text(
            mark.read_text().replace(plan_of(DiesSealing(config, there)), plan_of(SftUpdater(config, there)))
        )
    resumed = SftUpdater(config, there).update(GROUPS, parent=None, out=tmp_path / "cut", seed=0)
    assert resumed.checkpoint.version == whole.checkpoint.version
    assert resumed.metrics["update/steps"] == whole.metrics["update/steps"]


def plan_of(updater: SftUpdater) -> str:
    plan = midway(updater, updater.select(GROUPS), None, 0)
    assert plan is not None
    return plan.plan


@pytest.mark.parametrize("kind", ["sft", "preference", "sft with early stopping and dropout"])
@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_killed_update_goes_on_to_the_same_end(context: RunContext, tmp_path: Path, kind: str, after: int) -> None:
    def update(context: RunContext, out: Path) -> Any:
        if kind == "preference":
            made: Any = PreferenceUpdater(PreferenceConfig(**PREFERENCE, save_steps=2), context)
        else:
            stopping = {"early_stopping": "loss", "eval_steps": 2, "patience": 9} if "early" in kind else {}
            made = SftUpdater(SftConfig(**SFT, **stopping, save_steps=2), context)
        return made.update(GROUPS, parent=None, out=out, seed=3)

    if "dropout" in kind:
        context = dataclasses.replace(context, adapter={**context.adapter, "lora_dropout": 0.2})
    whole = update(context, tmp_path / "whole")

    killer = KillsAfter(after)
    scratch = tmp_path / "midway"
    with pytest.raises(Killed):
        update(dataclasses.replace(context, progress=killer, scratch=scratch), tmp_path / "cut")
    again = KillsAfter(1000)
    resumed = update(dataclasses.replace(context, progress=again, scratch=scratch), tmp_path / "cut")

    assert resumed.checkpoint.version == whole.checkpoint.version
    skip = "update/packed_tokens_per_second"
    assert {k: v for k, v in resumed.metrics.items() if k != skip} == {
        k: v for k, v in whole.metrics.items() if k != skip
    }
    taken_up = [note.partition(" of ")[0] for note in again.notes if "goes on after" in note]
    assert taken_up == ([f"the update goes on after {after // 2 * 2}"] if after > 1 else [])


def test_a_checkpoint_of_another_update_is_not_taken_up(context: RunContext, tmp_path: Path) -> None:
    scratch, progress = tmp_path / "midway", KillsAfter(5)
    with pytest.raises(Killed):
        SftUpdater(
            SftConfig(**SFT, save_steps=2), dataclasses.replace(context, progress=progress, scratch=scratch)
        ).update(GROUPS, parent=None, out=tmp_path / "a", seed=3)
    assert list(scratch.iterdir())
    other = SftUpdater(SftConfig(**SFT, save_steps=100), dataclasses.replace(context, scratch=scratch))
    update = other.update(GROUPS, parent=None, out=tmp_path / "b", seed=4)
    fresh = SftUpdater(SftConfig(**SFT), context).update(GROUPS, parent=None, out=tmp_path / "c", seed=4)
    assert update.checkpoint.version == fresh.checkpoint.version
    assert [path.name for path in scratch.iterdir()] == ["checkpoint-24"]  # its own, after the last step


def test_early_stopping_keeps_the_best_weights(context: RunContext, tmp_path: Path) -> None:
    """With a rate this high the loss on held-out prompts soon rises: they are random, so learning others hurts."""
    settings = SftConfig(
        **{**SFT, "learning_rate": 3e-3, "epochs": 12}, early_stopping="loss", eval_steps=1, patience=2, validation=0.25
    )
    updater = SftUpdater(settings, context)
    update = updater.update(GROUPS, parent=None, out=tmp_path / "out", seed=0)
    metrics = update.metrics
    best, last = metrics["update/validation_best_step"], metrics["update/validation_last_step"]
    assert metrics["update/validation_best"] < metrics["update/validation_first"]
    assert last == best + 2 == metrics["update/steps"] < 36
    # The weights that are kept give the loss that was best, not the last one.
    held = hold_out(updater.select(GROUPS).groups, settings.validation)[1]
    model = load_policy(context.require_model().path, update.checkpoint.path, "float32")
    step = updater.step(held, max_completion=16, max_tokens=1024)
    assert loss_on(updater, model, step, 1.0) == pytest.approx(metrics["update/validation_best"], rel=1e-4)


def test_training_that_only_hurts_is_an_error_of_the_update(context: RunContext, tmp_path: Path) -> None:
    settings = SftConfig(**SFT, early_stopping="suite", eval_steps=1, patience=2)
    falling = iter([0.5, 0.5, 0.4])
    updater = SftUpdater(settings, dataclasses.replace(context, score=lambda checkpoint: next(falling)))
    with pytest.raises(
        UpdateError, match=r"never got better than before training \(0.5000 at step 0, 0.5000 at step 1"
    ):
        updater.update(GROUPS, parent=None, out=tmp_path / "out", seed=0)


def test_early_stopping_by_the_suite_keeps_what_scored_best(context: RunContext, tmp_path: Path) -> None:
    seen: list[AdapterCheckpoint | None] = []

    def score(checkpoint: AdapterCheckpoint | None) -> float:
        assert checkpoint is None or (checkpoint.path / "adapter_model.safetensors").is_file()
        seen.append(checkpoint)
        return [0.1, 0.3, 0.6, 0.5, 0.4][len(seen) - 1]

    config = GroupConfig(
        dtype="float32",
        groups_per_step=2,
        epochs=4,
        old_logps="recompute",
        early_stopping="suite",
        eval_steps=1,
        patience=2,
    )
    groups = [scored_group(i, (1.0, 0.0, 0.4), sampling=Sampling(max_tokens=16)) for i in range(8)]
    updater = GroupUpdater(config, dataclasses.replace(context, score=score))
    update = updater.update(groups, parent=None, out=tmp_path / "out", seed=0)
    assert seen[0] is None  # before training it is the base
    assert seen[2] is not None
    assert update.checkpoint.version == seen[2].version  # after two steps
    assert update.metrics["update/validation_best"] == pytest.approx(0.4)
    assert update.metrics["update/steps"] == 4


def test_the_suite_cannot_be_watched_where_there_is_none(context: RunContext, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a suite"):
        SftUpdater(SftConfig(**SFT, early_stopping="suite"), context).update(
            GROUPS, parent=None, out=tmp_path / "out", seed=0
        )


def test_an_exploding_gradient_stops_the_update(context: RunContext, tmp_path: Path) -> None:
    settings = SftConfig(**SFT, exploding_grad_norm=1e-3)
    with pytest.raises(UpdateError, match="explodes"):
        SftUpdater(settings, context).update(GROUPS, parent=None, out=tmp_path / "out", seed=0)


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_8bit", "adafactor"])
def test_every_optimizer_learns(context: RunContext, tmp_path: Path, optimizer: str) -> None:
    settings = SftConfig(**{**SFT, "epochs": 6}, optimizer=optimizer)
    metrics = SftUpdater(settings, context).update(GROUPS, parent=None, out=tmp_path / "out", seed=0).metrics
    assert metrics["update/last_loss"] < metrics["update/first_loss"]


def test_recomputing_activations_changes_nothing(context: RunContext, tmp_path: Path) -> None:
    plain, frugal = (
        SftUpdater(SftConfig(**SFT, gradient_checkpointing=flag), context).update(
            GROUPS, parent=None, out=tmp_path / str(flag), seed=0
        )
        for flag in (False, True)
    )
    assert frugal.checkpoint.version == plain.checkpoint.version


def test_what_is_longer_than_the_context_is_left_out_and_counted(context: RunContext, tmp_path: Path) -> None:
    """The tiny model's context is 256 tokens; a completion's last token is only predicted."""

    def longer(index: int, prompt_tokens: int) -> Any:
        scored = scored_group(index, (1.0, 0.0, 0.4))
        ids = tuple(3 + i % 200 for i in range(prompt_tokens))
        return dataclasses.replace(scored, group=dataclasses.replace(scored.group, prompt_token_ids=ids))

    room = 256 + 1 - min(len(c.token_ids) for c in scored_group(1, (1.0, 0.0, 0.4)).group.completions)
    updater = SftUpdater(SftConfig(**SFT), context)
    update = updater.update([GROUPS[0], longer(1, room), longer(2, 300)], parent=None, out=tmp_path / "o", seed=0)
    fits = [len(c.token_ids) + room <= 257 for c in scored_group(1, (1.0, 0.0, 0.4)).group.completions]
    assert update.metrics["update/too_long"] == 2 + [fits[0], fits[2]].count(False)
    with pytest.raises(UpdateError, match="longer with their prompts than the model's context of 256"):
        updater.update([longer(2, 300)], parent=None, out=tmp_path / "p", seed=0)


def test_the_best_of_a_group_is_learnt_alone(context: RunContext, tmp_path: Path) -> None:
    groups = [scored_group(i, (0.5, 1.0, 0.8)) for i in range(6)]
    settings = {**SFT, "min_reward": 0.5, "learning_rate": 5e-3}
    every = SftUpdater(SftConfig(**settings), context).update(groups, parent=None, out=tmp_path / "all", seed=0)
    best = SftUpdater(SftConfig(**settings, select="best"), context).update(
        groups, parent=None, out=tmp_path / "best", seed=0
    )
    assert (every.metrics["update/demonstrations"], best.metrics["update/demonstrations"]) == (18, 6)
    assert best.metrics["update/not_best"] == 12
    base, trained = models(context, best.checkpoint)
    gains = [mean_logp(trained, groups[0], g) - mean_logp(base, groups[0], g) for g in range(3)]
    assert gains[1] == max(gains)
