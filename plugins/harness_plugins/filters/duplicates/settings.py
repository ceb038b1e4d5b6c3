"""Settings of the filters of duplicates. Importing this imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from harness.specs import Config

By = Literal["record", "prompt", "answer"]
"""What is compared: what records ask and what they answer, each by itself; or one of the two."""


class ExactConfig(Config):
    """Settings of `exact_duplicates`."""

    by: By = "record"
    normalise: Literal["none", "case", "words"] = "none"
    """What is evened out first: white space around a text; with `case` also capitals and runs of white space; with
    `words` all but the words in lower case."""


class NearConfig(Config):
    """Settings of `near_duplicates`."""

    by: By = "record"
    threshold: Annotated[float, Field(ge=0.3, le=1)] = 0.8
    """Least Jaccard index of the sets of shingles, of prompts and of answers each."""
    shingle: Literal["word", "character"] = "word"
    """What shingles are made of. Take `character` for languages that put no spaces between words."""
    size: PositiveInt = 5
    """Words or characters in a shingle. A text with fewer is one shingle."""
    same_numbers: bool = True
    """Texts with other numbers in them are not near: tasks and calls often differ in nothing else."""


class SemanticConfig(Config):
    """Settings of `semantic_duplicates`."""

    by: By = "record"
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.92
    """Least cosine of the embeddings, of prompts and of answers each."""
    same_numbers: bool = True
    """Texts with other numbers in them do not mean the same."""
    model: str = "minilm"
    """The embedding model: `minilm`, or a folder or hub id of an encoder whose tokens are averaged."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is three times as fast on processors that compute in it, and as much slower on others."""
    tokens: Annotated[int, Field(ge=8)] = 256
    """Of a text, that the model reads. What comes after them must be the same."""


class TopicConfig(Config):
    """Settings of `topic_balance`."""

    column: str = ""
    """A column, or a key of the prompt's metadata, that names each record's topic. Default: clusters of meaning."""
    topics: PositiveInt | Literal["auto"] = "auto"
    """How many clusters. `auto`: as many as there are when those of one subject are put together."""
    cap: PositiveFloat = 0.5
    """The most that one topic may have: a share of all records below 1, a number of records from 1 on."""
    model: str = "minilm"
    """The embedding model: `minilm`, or a folder or hub id of an encoder whose tokens are averaged."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is three times as fast on processors that compute in it, and as much slower on others."""
    tokens: Annotated[int, Field(ge=8)] = 256
    """Of a text, that the model reads."""
    seed: int = 0
    """Decides where clusters start, and who goes from a topic that has too many."""
