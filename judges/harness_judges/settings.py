"""Settings of the built-in judges, apart from the judges so that listing them imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from harness.specs import Config, JudgeSeat

Unit = Literal["characters", "words", "tokens"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


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


class GroundedConfig(Config):
    """`credit` is `exact` for evaluation (1 or 0) or `partial` for training (graded)."""

    credit: Literal["exact", "partial"] = "exact"
    extra_words: NonNegativeInt = 4
    """Words allowed beside the acceptable answer: who lists all names of the passage has not answered."""
    max_citations: PositiveInt = 2
    """Sentences that may be cited: who cites them all is right by chance."""


class RegexConfig(Config):
    """A Python regular expression for prompts whose target brings none. Flags go inline: `(?i)yes`."""

    pattern: str | None = None
    match: Literal["search", "fullmatch"] = "search"


class JsonFieldsConfig(Config):
    """`exact` for evaluation: 1 or 0. `partial` for training: the share of the fields that are right."""

    credit: Literal["exact", "partial"] = "exact"


class InstructionsConfig(Config):
    """`all` for evaluation: 1 if every constraint is met, else 0. `share` for training: the share that are met."""

    credit: Literal["all", "share"] = "all"


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


class LanguageConfig(Config):
    """Languages by their ISO 639 codes, such as `en`. Any of them will do."""

    languages: Annotated[tuple[str, ...], Field(min_length=1)]
    min_letters: PositiveInt = 20
    """With fewer the judge abstains."""


class RefusalConfig(Config):
    """What scores 1: `compliance` for questions that deserve an answer, `refusal` for those that do not. An empty
    answer and an echo of the prompt are neither."""

    want: Literal["compliance", "refusal"] = "compliance"


class ReadabilityConfig(Config):
    """Bounds on the Flesch-Kincaid grade, inclusive: 5 is easy, 12 the end of school. Beyond a bound the value falls
    linearly to 0 over `falloff` grades; 0 means at once."""

    min: float | None = None
    max: float | None = None
    falloff: float = Field(default=4.0, ge=0.0)

    @model_validator(mode="after")
    def _bounds_bound(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both: without them every grade is right")
        if self.min is not None and self.max is not None and self.max < self.min:
            raise ValueError(f"max {self.max} is below min {self.min}")
        return self


class FormatConfig(Config):
    """Properties of the answer; each that is set counts alike."""

    no_markdown: bool = False
    """No headings, lists with `-`, `*` or `+`, quotations, tables, links, bold text or code."""
    ends_with_sentence: bool = False
    """The last sentence is closed by a full stop or its like."""
    code_block: bool | None = None
    """A whole fenced code block is there (true), or none is begun (false)."""
    min_lines: PositiveInt | None = None
    """Lines that are not blank."""
    max_lines: PositiveInt | None = None
    min_items: PositiveInt | None = None
    """Items of lists, numbered or not, at any depth."""
    max_items: NonNegativeInt | None = None
    min_sentences: PositiveInt | None = None
    max_sentences: PositiveInt | None = None

    @model_validator(mode="after")
    def _can_be_satisfied(self) -> Self:
        if self.model_dump() == {name: field.default for name, field in type(self).model_fields.items()}:
            raise ValueError("nothing is asked for: set one of its properties")
        if self.no_markdown and self.code_block:
            raise ValueError("a code block is Markdown: no_markdown and code_block = true exclude each other")
        for unit in ("lines", "items", "sentences"):
            low, high = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
            if low is not None and high is not None and high < low:
                raise ValueError(f"max_{unit} {high} is below min_{unit} {low}")
        return self


class PanelMember(JudgeSeat):
    """A judge of a panel."""

    weight: PositiveFloat = 1.0


class PanelConfig(Config):
    """Judges that decide together."""

    members: Annotated[tuple[PanelMember, ...], Field(min_length=2)]
    """Tables of `name`, `config`, `weight` and `family`."""
    how: Literal["mean", "majority"] = "mean"
    """The weighted mean of their values, or 1 or 0 as most of their weight says: a value of at least 0.5 says 1."""
    quorum: PositiveInt | None = None
    """How many of them must have scored a completion. Default: more than half."""
    same_family: bool = False
    """Allow members of one family, whose errors are alike."""

    @model_validator(mode="after")
    def _can_decide(self) -> Self:
        if self.quorum is not None and self.quorum > len(self.members):
            raise ValueError(f"a quorum of {self.quorum} is more than the {len(self.members)} members")
        return self


class CascadeStage(JudgeSeat):
    """A judge of a cascade. It decides where its value is at most `low` or at least `high`; the last one always."""

    low: Share | None = None
    high: Share | None = None

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}: nothing would be left undecided")
        return self


class CascadeConfig(Config):
    """Judges one after the other, the cheapest first: each sees what those before it have left undecided."""

    stages: Annotated[tuple[CascadeStage, ...], Field(min_length=2)]
    """Tables of `name`, `config`, and `low` and `high`, which the last one has not."""

    @model_validator(mode="after")
    def _decides(self) -> Self:
        *first, last = self.stages
        if idle := [stage.name for stage in first if stage.low is None and stage.high is None]:
            raise ValueError(f"stage {idle[0]} decides nothing: give it low, high or both")
        if last.low is not None or last.high is not None:
            raise ValueError(f"stage {last.name} is the last and decides all that is left: leave its low and high out")
        return self


class FunctionConfig(Config):
    """A Python function in the signature of TRL's `reward_funcs`, sync or async."""

    path: str
    """A file (`rewards.py`), or `module:function`."""
    name: str | None = None
    """Of the function in the file."""

    @model_validator(mode="after")
    def _names_a_function(self) -> Self:
        if self.path.endswith(".py"):
            if self.name is None:
                raise ValueError("say which function of the file it is: name")
        elif not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", self.path):
            raise ValueError("give a file that ends in .py, or module:function")
        elif self.name is not None:
            raise ValueError("path names the function already: leave name out")
        return self


class SimilarityConfig(Config):
    """Embeddings of answer and reference by one model."""

    model: str
    """An asset, a folder or a hub id: anything that transformers' AutoModel loads."""
    dtype: Literal["bfloat16", "float32"] = "float32"
    batch: PositiveInt = 16
    """Texts computed together; only those of equal length are, so that none is padded."""


class SampleConfig(Config):
    """How many of a check's pairs."""

    count: PositiveInt = 100
    seed: int = 0
