"""The reference policy of an update: an explicit choice, computed once, and proven where it can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from harness.errors import ConfigError
from harness.protocols import Progress
from harness.types import AdapterCheckpoint
from harness_plugins.packing import TrainingGroup
from harness_plugins.training import with_logps

STEP_ZERO_TOLERANCE = 0.05
"""Nats a token: what an adapter that changes nothing may differ from no adapter by rounding in bf16."""


def with_reference(
    model: Any,
    groups: Sequence[TrainingGroup],
    reference: Literal["none", "base", "parent"],
    *,
    parent: AdapterCheckpoint | None,
    temperature: float,
    max_tokens: int,
    progress: Progress,
) -> list[TrainingGroup]:
    """The groups with the log-probs of each completion under the reference; call it before the first step.

    Raises ConfigError where the base model with its new adapter is not the base model: every margin would start off 0.
    """
    options: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens, "progress": progress}
    if reference == "none":
        return list(groups)
    if reference == "parent":
        return with_logps(model, groups, "ref_logps", **options)
    with model.disable_adapter():
        known = with_logps(model, groups, "ref_logps", **options)
    if parent is None:
        now = with_logps(model, known[:1], "old_logps", **options)[0]
        gaps = [
            abs(policy - base)
            for completion in now.completions
            for policy, base in zip(completion.old_logps or (), completion.ref_logps or (), strict=True)
        ]
        if sum(gaps) / len(gaps) > STEP_ZERO_TOLERANCE:
            raise ConfigError(
                f"before the first step the policy is {sum(gaps) / len(gaps):.4f} nats a token from its reference, "
                "the base model",
                where="adapter",
                remedy="Choose an adapter that starts as the identity, or reference = 'parent'.",
            )
    return known
