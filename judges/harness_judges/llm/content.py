"""What of a judge's identity lies outside its settings: the text of its files, the model itself, the parser."""

from __future__ import annotations

from harness.jsonl import read_text
from harness.types import digest
from harness_judges.llm.prompts import TEMPLATES
from harness_judges.llm.rubric import load_rubric
from harness_judges.llm.settings import AskingConfig, LlmConfig, PairwiseConfig, RankConfig

PARSER = 1
"""Raise it when equal replies come to mean another verdict."""


def content(config: AskingConfig) -> str:
    """Digest. Raises ConfigError for a file that is not there."""
    template = config.prompt or TEMPLATES / f"{_template(config)}.txt"
    parts = [PARSER, read_text(template)]
    if isinstance(config, LlmConfig):
        parts.append(load_rubric(config.rubric).model_dump(mode="json"))
    if config.provider != "openai":
        from harness import assets

        parts.append(assets.model(config.model).fingerprint)
    return digest(parts)


def _template(config: AskingConfig) -> str:
    if isinstance(config, LlmConfig):
        return config.score
    return {PairwiseConfig: "pairwise", RankConfig: "rank"}[type(config)]
