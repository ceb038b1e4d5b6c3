"""The `incident` judge: does a failure of the past come back?"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator

from harness.plugins import validate
from harness.specs import Config
from harness.types import Completion, Prompt, Score
from harness_judges.items import target_object
from harness_judges.pointwise import PointwiseJudge, ScoreCompletion
from harness_judges.wording import sentence, show

NAME = "incident"


class Pattern(Config):
    """A Python regular expression, looked for anywhere. Flags go inline: `(?i)yes`."""

    regex: str

    @field_validator("regex")
    @classmethod
    def _compiles(cls, regex: str) -> str:
        try:
            re.compile(regex)
        except re.error as error:
            raise ValueError(f"does not compile: {error}") from error
        return regex


def _has_words(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank, and a blank string is in every answer")
    return text


# By its type, so that what is wrong is said of what was meant and not of each alternative.
Wanted = Annotated[
    Annotated[str, AfterValidator(_has_words), Tag("text")] | Annotated[Pattern, Tag("pattern")],
    Discriminator(lambda value: "pattern" if isinstance(value, dict | Pattern) else "text"),
]


class Incident(Config):
    """A row's target."""

    must: tuple[Wanted, ...] = ()
    """Each must appear in the answer: a string as whole words, in whatever case; or `{"regex": ...}`."""
    must_not: tuple[Wanted, ...] = ()
    """None of them may appear."""
    since: str
    """The day on which it was found, as YYYY-MM-DD."""
    note: str = Field(default="", max_length=200)
    """What happened, for whoever meets it again."""

    @field_validator("since")
    @classmethod
    def _is_a_day(cls, since: str) -> str:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", since):
            raise ValueError("is not a date as YYYY-MM-DD")
        date.fromisoformat(since)
        return since

    @model_validator(mode="after")
    def _checks_something(self) -> Self:
        if not self.must and not self.must_not:
            raise ValueError("give must, must_not or both: without them every answer is right")
        return self


def incident_judge() -> PointwiseJudge:
    """1 if all that must appear does and nothing that must not, else 0. Labels: ok, empty, forbidden, missing.

    A blank answer is 0 whatever is asked for. A prompt without a target is abstained from; ConfigError, naming the
    prompt and the field, for a target that is no `Incident`.
    """
    return PointwiseJudge(_for_prompt)


def _for_prompt(prompt: Prompt) -> ScoreCompletion:
    if not prompt.target:
        return lambda completion: Score.abstained(NAME, "the prompt has no target")
    incident = validate(Incident, target_object(prompt, NAME), where=f"prompt {prompt.id}, judge {NAME}")
    must = [(wanted, _compile(wanted)) for wanted in incident.must]
    must_not = [(wanted, _compile(wanted)) for wanted in incident.must_not]
    history = f" (since {incident.since}{': ' if incident.note else ''}{incident.note})"

    def score(completion: Completion) -> Score:
        if not completion.text.strip():
            return Score(NAME, 0.0, label="empty", explanation=f"there is no answer{history}")
        for pattern in (pattern for _, pattern in must_not):
            if found := pattern.search(completion.text):
                return _failed("forbidden", f"it says {show(found[0])}, which must not appear{history}")
        for wanted, pattern in must:
            if not pattern.search(completion.text):
                return _failed("missing", f"{_name(wanted)} must appear and does not{history}")
        return Score(NAME, 1.0, label="ok")

    return score


def _compile(wanted: str | Pattern) -> re.Pattern[str]:
    if isinstance(wanted, Pattern):
        return re.compile(wanted.regex)
    # Whole words where it begins or ends with one: "5" is not in "15", and "%" may follow anything.
    words = r"\s+".join(re.escape(word) for word in wanted.split())
    before = r"(?<!\w)" if wanted.strip()[0].isalnum() else ""
    after = r"(?!\w)" if wanted.strip()[-1].isalnum() else ""
    return re.compile(before + words + after, re.IGNORECASE)


def _name(wanted: str | Pattern) -> str:
    return f"a match of {show(wanted.regex)}" if isinstance(wanted, Pattern) else show(wanted)


def _failed(label: str, why: str) -> Score:
    return Score(NAME, 0.0, label=label, explanation=sentence(why))
