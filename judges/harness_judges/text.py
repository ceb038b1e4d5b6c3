"""Judges of plain text against what the suite expects: `exact` and `regex`."""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.errors import ConfigError
from harness.types import Completion, Prompt, Score
from harness_judges.items import item_error, string_list, target_object
from harness_judges.pointwise import PointwiseJudge, ScoreCompletion
from harness_judges.settings import ExactConfig, RegexConfig
from harness_judges.wording import sentence, show

# ---------------------------------------------------------------- exact

_ARTICLES = frozenset({"a", "an", "the"})
# Punctuation around a word, but not the sign or the point that a number begins with.
_EDGES = re.compile(r"^((?!-?\.?\d)[\W_])+|(?<![\W_])[\W_]+$")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def normalize_answer(text: str) -> str:
    """Lower case, single spaces, no punctuation around words, no articles.

    After the answer normalization of SQuAD (Rajpurkar et al. 2016, arXiv:1606.05250), with two differences that keep
    answers apart: punctuation inside a word stays ("3.14" is not "314") but for the commas of thousands, and a text of
    articles or signs alone is kept ("A" as the answer to a multiple-choice question).
    """
    plain = _THOUSANDS.sub("", text.casefold()).split()
    words = [word for token in plain if (word := _EDGES.sub("", token))]
    return " ".join([word for word in words if word not in _ARTICLES] or words or plain)


def exact_judge(config: ExactConfig) -> PointwiseJudge:
    """1 if the text is, begins with, or contains an acceptable answer (`config.match`) and no unacceptable one, else 0.

    The target is `{"answers": [...], "not_answers": [...]}`, either of which may be absent; without both
    `Prompt.reference` is the answer; without that the judge abstains. Labels: ok, value_error, forbidden_answer.
    """
    found = _finder(config)

    def for_prompt(prompt: Prompt) -> ScoreCompletion:
        target = target_object(prompt, "exact")
        answers = string_list(prompt, "exact", target, "answers")
        refused = string_list(prompt, "exact", target, "not_answers")
        if not answers and not refused:
            if prompt.reference is None:
                return lambda completion: Score.abstained("exact", "the prompt has neither answers nor a reference")
            answers = [prompt.reference]

        def score(completion: Completion) -> Score:
            text = completion.text
            if (bad := next((answer for answer in refused if found(answer, text)), None)) is not None:
                return Score("exact", 0.0, label="forbidden_answer", explanation=f"{show(bad)} must not be the answer")
            if not answers or any(found(answer, text) for answer in answers):
                return Score("exact", 1.0, label="ok")
            why = f"{show(text)} where one of {show(answers)} is expected"
            return Score("exact", 0.0, label="value_error", explanation=sentence(why))

        return score

    return PointwiseJudge(for_prompt)


def _finder(config: ExactConfig) -> Callable[[str, str], bool]:
    """Whether an answer is found in a text."""
    fold: Callable[[str], str] = normalize_answer if config.normalize else str
    if config.match == "contains":
        # Both ends must be at a space or, in text as it was written, anywhere outside a word.
        edge = r"\S" if config.normalize else r"\w"

        def contains(answer: str, text: str) -> bool:
            answer, text = fold(answer), fold(text)
            if not answer:  # nothing is in everything
                return not text
            return re.search(rf"(?<!{edge}){re.escape(answer)}(?!{edge})", text) is not None

        return contains
    if config.match == "first_line":
        return lambda answer, text: fold(answer) == fold(_first_line(text))
    return lambda answer, text: fold(answer) == fold(text)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


# ---------------------------------------------------------------- regex


def regex_judge(config: RegexConfig) -> PointwiseJudge:
    """1 if the pattern is found in the text (`search`) or matches all of it (`fullmatch`), else 0.

    The pattern is that of the target, `{"pattern": ...}`, else the config's; without one the judge abstains. Labels:
    ok, no_match. Raises ConfigError or, for a prompt's pattern, PluginError when the pattern does not compile.
    """
    try:
        default = None if config.pattern is None else re.compile(config.pattern)
    except re.error as error:
        raise ConfigError(f"pattern {config.pattern!r} does not compile: {error}", where="judge regex") from error

    def for_prompt(prompt: Prompt) -> ScoreCompletion:
        pattern = _prompt_pattern(prompt) or default
        if pattern is None:
            return lambda completion: Score.abstained("regex", "neither the prompt nor the config has a pattern")
        matches = pattern.search if config.match == "search" else pattern.fullmatch

        def score(completion: Completion) -> Score:
            if matches(completion.text):
                return Score("regex", 1.0, label="ok")
            why = f"{show(pattern.pattern)} does not match {show(completion.text)}"
            return Score("regex", 0.0, label="no_match", explanation=why)

        return score

    return PointwiseJudge(for_prompt)


def _prompt_pattern(prompt: Prompt) -> re.Pattern[str] | None:
    pattern = target_object(prompt, "regex").get("pattern")
    if pattern is None:
        return None
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        raise item_error(prompt, "regex", f"its pattern {show(pattern)} does not compile: {error}") from error
