"""Reinforcement learning from groups: completions that did better than their siblings become likelier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.advantages import GroupAdvantages, group_advantages
from harness.errors import ConfigError, HarnessError, UpdateError
from harness.protocols import Objective, RunContext
from harness.types import Completion, ScoredGroup
from harness_plugins.models.packing import TrainingCompletion, TrainingGroup
from harness_plugins.training.overlong import count_overlong, punished_rewards, was_cut_off
from harness_plugins.training.updater import AdapterUpdater, Pass, Selection
from harness_plugins.updaters.configs import GroupConfig


class GroupUpdater(AdapterUpdater):
    """Trains on the groups that hold a signal, with advantages relative to each group."""

    name = "group"

    def __init__(self, config: GroupConfig, context: RunContext, *, objective: Objective | None = None) -> None:
        super().__init__(config, context, objective=objective)
        kl_coef = getattr(self.objective, "kl_coef", None)
        if kl_coef is not None and (kl_coef > 0) != (config.reference != "none"):
            raise ConfigError(
                f"reference = {config.reference!r} does not go with kl_coef = {kl_coef} of the objective",
                where="group",
                remedy="Set reference to 'base', 'previous' or 'snapshot' with kl_coef > 0, and to 'none' without.",
            )

        if getattr(self.objective, "sequence_level", False) and config.old_logps == "sampler":
            raise ConfigError(
                f"objective {config.objective!r} multiplies the ratios of all tokens, and so the sampler's rounding",
                where="group",
                remedy='Set old_logps = "recompute".',
            )

    def select(self, groups: Sequence[ScoredGroup]) -> Selection:
        temperature = require_unbiased_sampling(groups)
        relative = group_advantages(
            [self.rewards(group) for group in groups], baseline=self.config.baseline, scale=self.config.scale
        )
        training_groups = self.training_groups(groups, relative)
        if not training_groups:
            raise UpdateError(
                f"no group has signal: in each of {len(groups)} all rewards are equal, or fewer than two completions "
                "are scored and fit to train on",
                where="group",
                remedy="Use prompts that are neither too easy nor too hard, more completions, or finer rewards.",
            )
        unscored = sum(reward is None for group in groups for reward in group.rewards)
        return Selection(
            tuple(training_groups),
            {
                "update/groups": float(len(groups)),
                "update/groups_without_signal": float(relative.signal_P.count(False)),
                "update/unscored": float(unscored),
                "update/overlong": float(count_overlong(groups, self.config.overlong_buffer)),
                "update/completions": float(sum(len(group.completions) for group in training_groups)),
            },
            most_telling_sequence(training_groups),
            temperature=temperature,
            max_completion=max(group.group.sampling.max_tokens for group in groups),
        )

    def prepare(self, model: Any, groups: Sequence[TrainingGroup], how: Pass) -> list[TrainingGroup]:
        from harness_plugins.training.reference import with_reference
        from harness_plugins.training.steps import with_logps

        known = list(groups)
        if self.config.old_logps == "recompute":
            known = with_logps(
                model,
                known,
                "old_logps",
                temperature=how.temperature,
                max_tokens=how.max_tokens,
                progress=self.context.progress,
            )
        return with_reference(model, known, self.config.reference, self.config, self.context, how)

    def rewards(self, scored: ScoredGroup) -> tuple[float | None, ...]:
        """What completions are compared by."""
        if self.config.overlong == "punish":
            return punished_rewards(scored, self.config.overlong_buffer)
        return scored.rewards

    def training_groups(self, groups: Sequence[ScoredGroup], relative: GroupAdvantages) -> list[TrainingGroup]:
        """The completions to train on, by group. Groups without signal, or with none left, are not among them."""
        result = []
        for scored, advantages_G, signal in zip(groups, relative.advantages_P_G, relative.signal_P, strict=True):
            if not signal:
                continue
            kept = tuple(
                TrainingCompletion(completion.token_ids, advantage, self.sampler_logps(completion, scored))
                for completion, advantage in zip(scored.group.completions, advantages_G, strict=True)
                if advantage is not None and completion.token_ids
                if not (self.config.overlong == "mask" and was_cut_off(completion))
            )
            if kept:
                result.append(TrainingGroup(scored.group.prompt_token_ids, kept))
        return result

    def sampler_logps(self, completion: Completion, scored: ScoredGroup) -> tuple[float, ...] | None:
        if self.config.old_logps == "recompute":
            return None
        if completion.logprobs is None or len(completion.logprobs) != len(completion.token_ids):
            raise HarnessError(
                f"a completion of prompt {scored.group.prompt.id} has no log-probability for each of its tokens",
                where="group",
                remedy="Set old_logps = 'recompute', or train on samples of a generator that records them.",
            )
        return completion.logprobs


def require_unbiased_sampling(groups: Sequence[ScoredGroup]) -> float:
    """The temperature that all groups were sampled at.

    Raises HarnessError where the recorded log-probabilities are not those of the policy that is trained.
    """
    if not groups:
        raise HarnessError("there are no groups to train on", where="group")
    temperatures = {scored.group.sampling.temperature for scored in groups}
    if len(temperatures) > 1 or min(temperatures) <= 0:
        raise HarnessError(
            f"groups must share one temperature above 0, not {sorted(temperatures)}",
            where="group",
            remedy="Sample all training groups at temperature 1.",
        )
    for scored in groups:
        sampling = scored.group.sampling
        if sampling.top_p < 1 or sampling.top_k > 0 or sampling.min_p > 0 or sampling.constrained:
            raise HarnessError(
                f"prompt {scored.group.prompt.id} was sampled from a truncated distribution (top_p {sampling.top_p}, "
                f"top_k {sampling.top_k}, min_p {sampling.min_p}, constrained {sampling.constrained}), which biases "
                "the importance ratio",
                where="group",
                remedy="Sample training groups with top_p = 1, top_k = 0, min_p = 0, constrained = false.",
            )
    return temperatures.pop()


def most_telling_sequence(groups: Sequence[TrainingGroup]) -> tuple[int, ...]:
    """Prompt and completion with the largest advantage either way: where the update shows most."""
    pairs = [(group, completion) for group in groups for completion in group.completions]
    group, completion = max(pairs, key=lambda pair: abs(pair[1].advantage or 0.0))
    return group.prompt_token_ids + completion.token_ids
