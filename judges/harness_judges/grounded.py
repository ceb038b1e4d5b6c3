"""The `grounded` judge: is the answer right, and is it in the sentences that the answer cites?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.types import Completion, Prompt, Score
from harness_judges.items import item_error, string_list, target_object
from harness_judges.pointwise import PointwiseJudge, ScoreCompletion
from harness_judges.settings import GroundedConfig
from harness_judges.text import normalize_answer
from harness_judges.wording import sentence, show

NAME = "grounded"

ABSENT = normalize_answer("not in the passage")
"""How an answer says that the passage does not say."""

# What an answer earns with credit = "partial"; ok earns 1, and what is not named nothing.
PARTIAL = {
    # A right answer whose citation is wrong, or the right thing said of a passage that says nothing, with a citation.
    "no_citation": 0.5,
    "unsupported_citation": 0.5,
    "too_many_citations": 0.5,
    # The right answer somewhere in too many words.
    "too_long": 0.2,
    # At least nothing was made up.
    "wrong_answer": 0.1,
}

_CITATION = re.compile(r"\[\s*\d{1,4}(?:\s*[,;]\s*\d{1,4})*\s*\]")


def grounded_judge(config: GroundedConfig) -> PointwiseJudge:
    """1 if the text holds an acceptable answer in few words and cites sentences that support it (`Paris [2]`), else 0.

    The target is `{"answers": [...], "sentences": [...], "support": [...]}`: the passage's sentences, and which of
    them, counted from 1, support the answer. Every number cited must be that of a sentence, and one of them of a
    supporting one. Without answers the passage does not say, and "not in the passage" is right, with no citation.

    Labels: ok, wrong_answer, not_in_passage (wrong, with words that the passage has not), too_long, no_citation,
    unsupported_citation, too_many_citations, missed (the passage does say), hallucinated (it does not), no_answer.
    With credit "partial" the labels in PARTIAL earn their part.

    A prompt without a target is abstained from; PluginError, naming the prompt, for a target that cannot be read.
    """

    def for_prompt(prompt: Prompt) -> ScoreCompletion:
        target = _read_target(prompt)
        if target is None:
            return lambda completion: Score.abstained(NAME, "the prompt has no target")

        def score(completion: Completion) -> Score:
            label, why = _verdict(completion.text, target, config)
            value = 1.0 if label == "ok" else PARTIAL.get(label, 0.0) if config.credit == "partial" else 0.0
            return Score(NAME, value, label=label, explanation=sentence(why))

        return score

    return PointwiseJudge(for_prompt)


@dataclass(frozen=True)
class _Target:
    answers: Sequence[str]
    """Normalized; none where the passage does not say."""
    words: frozenset[str]
    """Of the passage."""
    count: int
    """Sentences in it."""
    support: frozenset[int]


def _read_target(prompt: Prompt) -> _Target | None:
    target = target_object(prompt, NAME)
    if not target:
        return None
    answers = [normalize_answer(answer) for answer in string_list(prompt, NAME, target, "answers")]
    sentences = string_list(prompt, NAME, target, "sentences")
    support = target.get("support", [])
    if not sentences or not all(answers):
        raise item_error(prompt, NAME, "its target must have sentences, and no empty answer")
    if not isinstance(support, list) or not all(number in range(1, len(sentences) + 1) for number in support):
        raise item_error(prompt, NAME, f"its target's 'support' must be a list of numbers from 1 to {len(sentences)}")
    if bool(answers) != bool(support):
        raise item_error(prompt, NAME, "its target must have both answers and their support, or neither")
    return _Target(answers, frozenset(_words(" ".join(sentences))), len(sentences), frozenset(support))


def _verdict(text: str, target: _Target, config: GroundedConfig) -> tuple[str, str]:
    """The label and why. The first thing that is wrong is what is said."""
    cited = {int(number) for group in _CITATION.findall(text) for number in re.findall(r"\d+", group)}
    said = normalize_answer(_CITATION.sub(" ", text))
    # A text of signs alone is kept as it is by the normalization, and says nothing.
    if not _words(said):
        return "no_answer", "it says nothing"
    declines = _holds(said, ABSENT)
    if not target.answers and not declines:
        return "hallucinated", f"{show(said)} where the passage does not say"
    if target.answers and declines:
        return "missed", f"the passage says {show(target.answers[0])}"
    held = [answer for answer in (target.answers or [ABSENT]) if _holds(said, answer)]
    if not held:
        if made_up := sorted(set(_words(said)) - target.words):
            return "not_in_passage", f"the passage has no {show(made_up[0])}; {show(target.answers[0])} is expected"
        return "wrong_answer", f"{show(said)} where {show(target.answers[0])} is expected"
    extra = len(said.split()) - max(len(answer.split()) for answer in held)
    if extra > config.extra_words:
        return "too_long", f"{extra} words beside the answer, of which {config.extra_words} are allowed"
    return _citations(cited, target, config)


def _citations(cited: set[int], target: _Target, config: GroundedConfig) -> tuple[str, str]:
    if not target.answers:
        return ("unsupported_citation", "nothing supports it, and yet it cites") if cited else ("ok", "")
    if not cited:
        return "no_citation", "it cites no sentence"
    if unknown := sorted(number for number in cited if not 1 <= number <= target.count):
        return "unsupported_citation", f"there is no sentence {unknown[0]}, only {target.count}"
    if not cited & target.support:
        return "unsupported_citation", f"sentence {min(cited)} does not say so, but {min(target.support)}"
    if len(cited) > config.max_citations:
        return "too_many_citations", f"{len(cited)} sentences are cited, of which {config.max_citations} are allowed"
    return "ok", ""


def _holds(text: str, phrase: str) -> bool:
    return f" {phrase} " in f" {text} "


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
