"""The `language` judge: is the answer in the language that is asked for?"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from harness.errors import ConfigError, did_you_mean
from harness.types import Completion, Score
from harness_judges.pointwise import PointwiseJudge, for_every_prompt
from harness_judges.settings import LanguageConfig

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

NAME = "language"


def language_judge(config: LanguageConfig) -> PointwiseJudge:
    """1 if the most likely language of the whole text is one of `config.languages`, else 0; abstains under
    `config.min_letters` letters, where a guess would be worth little.

    The guess is that of py3langid, a naive Bayes model over byte n-grams (Lui and Baldwin 2012, ACL P12-3005), which
    calls text in no language `zxx`. Labels: ok, other_language. Raises ConfigError for a language it does not know.
    """
    identifier = _identifier()
    if unknown := sorted(set(config.languages) - set(identifier.labels)):
        known = sorted(identifier.labels)
        raise ConfigError(
            f"no language has the code {unknown[0]!r}",
            where="judge language",
            remedy=f"{did_you_mean(unknown[0], known)} Known are: {', '.join(known)}.",
        )

    def score(completion: Completion) -> Score:
        letters = sum(map(str.isalpha, completion.text))
        if letters < config.min_letters:
            return Score.abstained(NAME, f"{letters} letters are too few to tell")
        found, confidence = identifier.classify(completion.text)
        right = found in config.languages
        why = f"it reads as {found} ({confidence:.2f})"
        return Score(NAME, float(right), label="ok" if right else "other_language", explanation=why)

    return PointwiseJudge(for_every_prompt(score))


@cache  # unpacking the model takes half a second
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
