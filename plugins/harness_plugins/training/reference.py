"""The reference policy of an update: an explicit choice, computed once, and its distance from the policy measured."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import peft

from harness.checkpoints import open_checkpoint
from harness.errors import ConfigError
from harness.protocols import RunContext
from harness_plugins.models.adapters import load_base, load_policy
from harness_plugins.models.memory import release
from harness_plugins.models.packing import TrainingGroup
from harness_plugins.training.configs import Reference, ReferenceConfig
from harness_plugins.training.steps import with_logps
from harness_plugins.training.updater import Pass

STEP_ZERO_TOLERANCE = 0.05
"""Nats a token: what an adapter that changes nothing may differ from no adapter by rounding in bf16."""

GAP = "update/reference_gap"

GAP_GROUPS = 16
"""Groups that the gap is measured on: on all of them it would cost as much as the reference itself."""


def with_reference(
    model: Any,
    groups: Sequence[TrainingGroup],
    reference: Reference,
    config: ReferenceConfig,
    context: RunContext,
    how: Pass,
) -> list[TrainingGroup]:
    """The groups with the log-probs of each completion under the reference; call it before the first step.

    With a reference, `update/reference_gap` in `how.metrics` is the mean of |log pi - log pi_ref| in nats a token, over
    the first 16 groups. Raises ConfigError where the base model with its new adapter is not the base model: every
    margin would start off 0. Raises StoreError where the snapshot is not a sealed adapter of this model.
    """
    options: dict[str, Any] = {
        "temperature": how.temperature,
        "max_tokens": how.max_tokens,
        "progress": context.progress,
    }
    if reference == "none":
        return list(groups)
    if reference == "previous":
        how.metrics[GAP] = 0.0
        return with_logps(model, groups, "ref_logps", **options)
    if reference == "base" and isinstance(model, peft.PeftModel):
        with model.disable_adapter():
            known = with_logps(model, groups, "ref_logps", **options)
    else:  # a snapshot, or the base of a model that is trained itself
        known = with_copy(groups, config, context, device=model.device, **options)
    gap = mean_gap(with_logps(model, known[:GAP_GROUPS], "old_logps", **options))
    if reference == "base" and how.parent is None and gap > STEP_ZERO_TOLERANCE:
        raise ConfigError(
            f"before the first step the policy is {gap:.4f} nats a token from its reference, the base model",
            where="adapter",
            remedy="Choose an adapter that starts as the identity, or reference = 'previous'.",
        )
    how.metrics[GAP] = gap
    return known


def with_copy(
    groups: Sequence[TrainingGroup], config: ReferenceConfig, context: RunContext, *, device: Any, **options: Any
) -> list[TrainingGroup]:
    """The groups with the log-probs of the base model, with the snapshot's adapter where there is one, in a copy of the
    model that is let go again: a second adapter beside the one that is trained would be saved with it."""
    model, folder = context.require_model(), config.reference_adapter
    if folder is None:
        copy = load_base(model.path, config.dtype, device=device)
    else:
        quantization = open_checkpoint(folder, base=model.fingerprint).quantization
        copy = load_policy(model.path, folder, config.dtype, quantization=quantization, device=device)
    try:
        return with_logps(copy, groups, "ref_logps", **options)
    finally:
        del copy
        release()


def mean_gap(groups: Sequence[TrainingGroup]) -> float:
    """Mean over tokens of the distance between their log-probs in `old_logps` and in `ref_logps`."""
    return fmean(
        abs(policy - reference)
        for group in groups
        for completion in group.completions
        for policy, reference in zip(completion.old_logps or (), completion.ref_logps or (), strict=True)
    )
