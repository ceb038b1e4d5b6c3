"""Settings of the built-in judges, apart from the judges so that listing them imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from harness.specs import Config

Unit = Literal["characters", "words", "tokens"]


class ToolCallConfig(Config):
    """`strict` follows the tools' JSON Schemas, `bfcl` the published checker of the Berkeley leaderboard.

    `credit` is `exact` for evaluation (1 or 0) or `partial` for training (graded). `tolerance` is relative and for
    fractions only; `exact_strings` compares strings letter by letter. The last two belong to `strict`.
    """

    mode: Literal["strict", "bfcl"] = "strict"
    credit: Literal["exact", "partial"] = "exact"
    tolerance: float = Field(default=1e-6, ge=0.0, lt=1.0)
    exact_strings: bool = False

    @model_validator(mode="after")
    def _only_strict_compares_otherwise(self) -> Self:
        ignored = {"tolerance", "exact_strings"} & self.model_fields_set
        if self.mode == "bfcl" and ignored:
            raise ValueError(f"mode bfcl compares as published and does not read {', '.join(sorted(ignored))}")
        return self


class ExactConfig(Config):
    """`whole` compares all of the text, `first_line` its first line that is not blank, `contains` looks for the
    answer as whole words anywhere. `normalize` folds case, spaces, punctuation around words, and articles."""

    normalize: bool = True
    match: Literal["whole", "contains", "first_line"] = "whole"


class RegexConfig(Config):
    """A Python regular expression for prompts whose target brings none. Flags go inline: `(?i)yes`."""

    pattern: str | None = None
    match: Literal["search", "fullmatch"] = "search"


class RewardModelConfig(Config):
    """A model with a scalar head; a verdict is the sigmoid of what it gives."""

    path: Path
    """What `harness train reward_model` wrote, or the folder of a whole sequence-classification model."""
    base: str | None = None
    """The model that an adapter belongs to: an asset, a folder or a hub id. Default: what its training.json names."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    batch: PositiveInt = 16
    """Completions computed together; only those of equal length are, so that none is padded."""


class ElsewhereConfig(Config):
    """Verdicts that `harness judge import` keeps. They are no part of a run's identity: they come in while it waits."""

    verdicts: Path | None = None
    """A file of verdicts, or a folder of such files. Default: those of the run that asks."""


class LengthConfig(Config):
    """Bounds are inclusive. Beyond a bound the value falls linearly to 0 over `falloff` units; 0 means at once."""

    min: int = Field(default=0, ge=0)
    max: int | None = Field(default=None, ge=0)
    unit: Unit = "words"
    falloff: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _bounds_bound(self) -> Self:
        if self.max is None and self.min == 0:
            raise ValueError("give min, max or both: without them every length is right")
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max {self.max} is below min {self.min}")
        return self


class RepetitionConfig(Config):
    """`n` consecutive units make one n-gram."""

    n: int = Field(default=4, ge=1)
    unit: Unit = "words"


class SampleConfig(Config):
    """How many of a check's pairs."""

    count: PositiveInt = 100
    seed: int = 0
