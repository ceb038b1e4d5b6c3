"""Rubrics: what an answer is judged by, in criteria with few levels, each with a weight.

Two or three levels that say what they mean are told apart more reliably than the numbers from 1 to 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PositiveFloat, model_validator

from harness.plugins import validate
from harness.specs import Config
from harness.toml_files import read_toml
from harness_judges.llm.asking import reply_schema
from harness_judges.llm.prompts import TEMPLATES

DEFAULT = TEMPLATES / "helpfulness.toml"


class Criterion(Config):
    """One question about an answer."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    question: str = Field(min_length=1)
    levels: tuple[str, ...] = ("no", "yes")
    """From worst to best, evenly spaced from 0 to 1."""
    weight: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _levels_differ(self) -> Self:
        if not 2 <= len({level.strip().lower() for level in self.levels if level.strip()}) == len(self.levels) <= 5:
            raise ValueError("levels are two to five different words, from worst to best")
        if self.name == "reasons":
            raise ValueError("the name 'reasons' is taken")
        return self

    def value(self, level: str) -> float:
        return self.levels.index(level) / (len(self.levels) - 1)


class Rubric(Config):
    """The criteria of a TOML file."""

    criteria: tuple[Criterion, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [criterion.name for criterion in self.criteria]
        if len(set(names)) < len(names):
            raise ValueError("two criteria have one name")
        if len({(criterion.question, criterion.levels) for criterion in self.criteria}) < len(names):
            raise ValueError("two criteria ask the same")
        return self

    def verdict_schema(self, *, reasons: bool) -> dict[str, Any]:
        """JSON Schema of a verdict: a level for each criterion."""
        return reply_schema({c.name: {"enum": list(c.levels)} for c in self.criteria}, reasons=reasons)

    def mean(self, values: Mapping[str, float]) -> float:
        """The weighted mean of the criteria's values, which are in [0, 1]."""
        total = sum(criterion.weight for criterion in self.criteria)
        mean = sum(criterion.weight * values[criterion.name] for criterion in self.criteria) / total
        return min(max(mean, 0.0), 1.0)

    def text(self) -> str:
        return "\n".join(f"- {c.name}: {c.question} ({' / '.join(c.levels)})" for c in self.criteria)


def load_rubric(path: Path | None) -> Rubric:
    """Raises ConfigError naming file, field and value where it is no rubric."""
    path = path or DEFAULT
    return validate(Rubric, read_toml(path), where=str(path))
