"""What this package registers. Nothing heavy is imported until a filter is made."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from harness.protocols import RunContext
from harness.specs import FilterSpec
from harness_plugins.filters.duplicates.settings import ExactConfig, NearConfig, SemanticConfig, TopicConfig


def _lazy(module: str, name: str) -> Callable[[Any, RunContext], Any]:
    def create(config: Any, context: RunContext) -> Any:
        return getattr(import_module(f"harness_plugins.filters.duplicates.{module}"), name)(config, context)

    return create


def _content(config: SemanticConfig | TopicConfig) -> str:
    """Fingerprint of the embedding model, "" where none is used."""
    from harness import assets

    return "" if isinstance(config, TopicConfig) and config.column else assets.model(config.model).fingerprint


SPECS: tuple[FilterSpec, ...] = (
    FilterSpec(
        "exact_duplicates",
        "Asks and answers what another did before",
        _lazy("exact", "ExactDuplicates"),
        ExactConfig,
        reasons={"exact_duplicate": "the same is asked and answered before"},
    ),
    FilterSpec(
        "near_duplicates",
        "Nearly the words of another (MinHash)",
        _lazy("near", "NearDuplicates"),
        NearConfig,
        reasons={"near_duplicate": "nearly the same words, without other numbers, are asked and answered before"},
    ),
    FilterSpec(
        "semantic_duplicates",
        "The meaning of another, by embeddings",
        _lazy("semantic", "SemanticDuplicates"),
        SemanticConfig,
        content=_content,
        reasons={"semantic_duplicate": "the same, in other words, is asked and answered before"},
    ),
    FilterSpec(
        "topic_balance",
        "Caps what one topic may have of the data",
        _lazy("topics", "TopicBalance"),
        TopicConfig,
        content=_content,
        reasons={"over_represented": "its topic has more than its share"},
    ),
)
