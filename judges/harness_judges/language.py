"""The `language` judge: is the answer in the language that is asked for?"""

from __future__ import annotations

from harness.languages import identify, require_known
from harness.types import Completion, Score
from harness_judges.pointwise import PointwiseJudge, for_every_prompt
from harness_judges.settings import LanguageConfig

NAME = "language"


def language_judge(config: LanguageConfig) -> PointwiseJudge:
    """1 if the most likely language of the whole text is one of `config.languages`, else 0; abstains under
    `config.min_letters` letters, where a guess would be worth little.

    The guess is that of `harness.languages.identify`, which calls text in no language `zxx`. Labels: ok,
    other_language. Raises ConfigError for a language it does not know.
    """
    require_known(config.languages, where="judge language")

    def score(completion: Completion) -> Score:
        letters = sum(map(str.isalpha, completion.text))
        if letters < config.min_letters:
            return Score.abstained(NAME, f"{letters} letters are too few to tell")
        found, confidence = identify(completion.text)
        right = found in config.languages
        why = f"it reads as {found} ({confidence:.2f})"
        return Score(NAME, float(right), label="ok" if right else "other_language", explanation=why)

    return PointwiseJudge(for_every_prompt(score))
