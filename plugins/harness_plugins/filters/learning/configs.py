"""Settings of the filters of this package. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, model_validator

from harness.leakage import KINDS, LeakKind
from harness.specs import Config

Share = Annotated[float, Field(ge=0, le=1)]


class LeakageConfig(Config):
    """What must not be trained on."""

    suites: Annotated[tuple[str, ...], Field(min_length=1)]
    """Those whose items are held out: names, folders, or PLUGIN:TASK."""
    kinds: Annotated[tuple[LeakKind, ...], Field(min_length=1)] = KINDS
    """`prompt` (asks the same), `near` (5-gram Jaccard index of 0.7 or more), `ngram` (13 words in a row)."""


class ConsistencyConfig(Config):
    """What counts as a contradiction among preferences."""

    min_margin: NonNegativeFloat = 0.0
    """Pairs whose scores differ by less are ties, and so are groups of which all do. Scores of pairs are the columns
    `margin`, or `score_chosen` and `score_rejected`; without them a tie is a pair of equal answers."""
    reference_error: Annotated[float, Field(ge=0, lt=0.5)] | None = None
    """How often `score_chosen` and `score_rejected` are wrong about which is better, if they are a judge's that the
    labels are not from: the noise is then estimated from how often they contradict labels. Default: it is not."""


class DifficultyConfig(Config):
    """Which prompts are too easy or too hard to learn from."""

    rate: Literal["mean", "passed"] = "mean"
    """Pass rate of a group: its mean reward, or the share of its answers with a reward of 1."""
    low: Share = 0.0
    """Pass rates up to this are `always_wrong`."""
    high: Share = 1.0
    """Pass rates from this on are `always_right`."""
    keep_easy: Share = 0.1
    """Share of the `always_right` that are kept, against forgetting; which, their prompts' ids decide."""
    run: str | None = None
    """A run, by name or folder, whose groups say how often each prompt was passed. Default: a record's own answers, or
    its column `pass_rate`."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self
