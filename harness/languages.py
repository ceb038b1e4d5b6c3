"""Which language a text is in, by py3langid: naive Bayes over byte n-grams (Lui and Baldwin 2012, ACL P12-3005)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, cast

from harness.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier


def identify(text: str) -> tuple[str, float]:
    """The likeliest language's ISO 639 code and its probability. Text in no language is `zxx`."""
    return cast("tuple[str, float]", _identifier().classify(text))


def require_known(languages: Iterable[str], *, where: str) -> None:
    """Raises ConfigError for a language that is not told from others."""
    labels = _identifier().labels
    if unknown := sorted(set(languages) - set(labels)):
        known = sorted(labels)
        raise ConfigError(
            f"no language has the code {unknown[0]!r}",
            where=where,
            remedy=f"{did_you_mean(unknown[0], known)} Known are: {', '.join(known)}.",
        )


@cache  # unpacking the model takes half a second
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
