"""What this package registers. Nothing heavy is imported until a filter is made."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from harness.protocols import RunContext
from harness.specs import FilterSpec
from harness_plugins.filters.learning.configs import ConsistencyConfig, DifficultyConfig, LeakageConfig


def _lazy(module: str, name: str) -> Callable[[Any, RunContext], Any]:
    """`create` of a filter whose module is imported when a use of data names it."""

    def create(config: Any, context: RunContext) -> Any:
        return getattr(import_module(f"harness_plugins.filters.learning.{module}"), name)(config, context)

    return create


def _folders_content(config: LeakageConfig) -> str:
    from harness_plugins.filters.learning.leakage import folders_content

    return folders_content(config)


def _run_content(config: DifficultyConfig) -> str:
    from harness_plugins.filters.learning.difficulty import run_content

    return run_content(config)


SPECS: tuple[FilterSpec, ...] = (
    FilterSpec(
        "leakage",
        "Repeats items that suites hold out",
        _lazy("leakage", "LeakageFilter"),
        LeakageConfig,
        content=_folders_content,
        reasons={
            "leaked_prompt": "asks what an item asks",
            "leaked_near": "asks nearly what an item asks",
            "leaked_ngram": "has 13 words in a row of an item or its gold answer",
        },
    ),
    FilterSpec(
        "label_consistency",
        "Preferences that contradict each other; an estimate of label noise",
        _lazy("consistency", "ConsistencyFilter"),
        ConsistencyConfig,
        reasons={
            "contradiction": "the same answers are preferred, or the same answer found good, both ways",
            "cycle": "preferences go round in a circle",
            "tie": "the answers are equal, or their scores nearly so",
        },
    ),
    FilterSpec(
        "difficulty",
        "Prompts that the policy always or never answers well",
        _lazy("difficulty", "DifficultyFilter"),
        DifficultyConfig,
        content=_run_content,
        reasons={
            "always_right": "nothing is left to learn",
            "always_wrong": "no answer to learn from",
        },
    ),
)
