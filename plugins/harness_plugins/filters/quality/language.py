"""The `language` filter: text in another language than those wanted."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.data.record import Flaw, Record
from harness.languages import identify, require_known
from harness_plugins.filters.quality.configs import LanguageConfig
from harness_plugins.filters.quality.text import learnt, prose

# Words without which hardly a sentence of English is written, and of which other languages have none or few.
_ENGLISH = frozenset(
    {"the", "and", "of", "to", "that", "it", "is", "for", "with", "you", "are", "have", "this", "not", "be", "from"}
    | {"they", "which", "what", "can", "your", "their", "will", "would", "has", "when", "if", "how", "its", "than"}
    | {"them", "been", "were", "who", "more"}
)
ENGLISH = 0.2
"""Share of the words of a text that, where it is one of those, says that it is English: to ask the model takes ten
times as long, and most texts need not be asked about."""

_LINK = re.compile(r"\S*(?:://|@)\S*")
# English names of the languages that answers are most often asked for in.
_NAMES = {
    "ar": "arabic",
    "bn": "bengali",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "he": "hebrew",
    "hi": "hindi",
    "hu": "hungarian",
    "id": "indonesian",
    "it": "italian",
    "ja": "japanese",
    "ko": "korean",
    "la": "latin",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "th": "thai",
    "tr": "turkish",
    "uk": "ukrainian",
    "vi": "vietnamese",
    "zh": "chinese",
}


class LanguageFilter:
    """What is asked and each answer that is to be learnt, apart. Code and JSON have no language, and an answer may be
    in one that the prompt names in English or asks to translate into."""

    def __init__(self, config: LanguageConfig) -> None:
        require_known(config.languages, where="filter language")
        self.config = config

    def check(self, record: Record) -> Sequence[Flaw]:
        flaws = []
        if self.config.prompts and (found := self._other(record.asked)) is not None:
            flaws.append(Flaw("prompt_language", f"it reads as {found[0]} ({found[1]:.2f})"))
        for index, text in learnt(record):
            if (found := self._other(text)) is not None and not _is_asked_for(found[0], record.asked):
                flaws.append(Flaw("answer_language", f"it reads as {found[0]} ({found[1]:.2f})", answer=index))
        return flaws

    def _other(self, text: str) -> tuple[str, float] | None:
        """The language and its probability, where it is for certain another one than those wanted."""
        text = prose(text)
        if len(text) < self.config.min_letters or ("en" in self.config.languages and _is_english(text)):
            return None
        if "://" in text or "@" in text:
            text = _LINK.sub("", text)
        if sum(map(str.isalpha, text)) < self.config.min_letters:
            return None
        code, probability = identify(text)
        if code in self.config.languages or probability < self.config.min_confidence:
            return None
        return code, probability


def _is_english(text: str) -> bool:
    words = text.casefold().split()
    return sum(map(_ENGLISH.__contains__, words)) >= ENGLISH * len(words)


def _is_asked_for(code: str, asked: str) -> bool:
    plain = asked.casefold()
    return "translat" in plain or (code in _NAMES and _NAMES[code] in plain)
