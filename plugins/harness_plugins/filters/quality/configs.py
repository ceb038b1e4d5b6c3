"""Settings of the quality filters. Importing them loads no library."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from harness.specs import Config

Share = Annotated[float, Field(ge=0, le=1)]
Phrase = Annotated[str, Field(min_length=4)]


class LengthConfig(Config):
    """An outlier is `deviations` robust standard deviations away from the median, on a log scale."""

    deviations: PositiveFloat = 6.0
    """Of the log length: 1.4826 times the median absolute deviation, and never less than a factor of 1.5."""
    max_outliers: Share = 0.01
    """Where a larger share lies beyond a bound, it is a mode of the data, and none of it is flagged."""
    min_records: PositiveInt = 50
    """Of fewer lengths none is called an outlier."""
    min_answer: int = Field(default=0, ge=0)
    """Characters that every answer must have."""
    max_chars: PositiveInt = 100_000
    """Characters that a prompt or an answer may have."""


class RepetitionConfig(Config):
    """Bounds of Rae et al. 2021 (arXiv:2112.11446, table A1), and from which length on they apply."""

    min_words: int = Field(default=20, ge=10)
    """Of an answer, for what is said of its n-grams."""
    min_lines: PositiveInt = 4
    """For what is said of its lines and paragraphs."""
    scale: PositiveFloat = 1.0
    """Times every bound: above 1 more repetition is allowed."""


class SymbolsConfig(Config):
    """Bounds of Rae et al. 2021 (arXiv:2112.11446, appendix A1.1), and those for what they do not know of."""

    min_words: PositiveInt = 50
    """Shorter prose is held to no ratio of words or lines. Gopher keeps no document under 50 words."""
    max_symbols: Share = 0.5
    """Of the characters of prose of 40 or more that are no space: neither letters, digits nor marks of a script."""
    max_symbol_ratio: Share = 0.1
    """Hash signs, and ellipses, for each word."""
    max_bullet_lines: Share = 0.9
    """In raw text; an answer may be a list."""
    max_ellipsis_lines: Share = 0.3
    min_mean_word: PositiveFloat = 3.0
    max_mean_word: PositiveFloat = 10.0
    """Characters, with the punctuation that clings to it."""
    min_alphabetic: Share = 0.6
    """Words with a letter in them. Gopher's 0.8 refuses plans, scores and dates."""
    max_blob: PositiveInt = 120
    """Characters of base64 or hexadecimal digits in one piece."""


class BoilerplateConfig(Config):
    """Phrases are found whatever their case; the built-in ones are English."""

    more: tuple[Phrase, ...] = ()
    """Further phrases, found anywhere in an answer."""
    closings: bool = True
    """Look for offers of further help at the end of an answer, which are cut off where flaws are mended."""


class TruncationConfig(Config):
    """An answer that ends with a letter in a long last line of prose is taken to be cut off."""

    min_words: PositiveInt = 30
    """Of the answer; in a shorter one an open end is a matter of style."""
    min_line: PositiveInt = 12
    """Words of its last line; shorter ones are headings, items, verses and signatures."""


class LanguageConfig(Config):
    """Languages by their ISO 639 codes, such as `en`. Any of them will do."""

    languages: Annotated[tuple[str, ...], Field(min_length=1)] = ("en",)
    min_letters: PositiveInt = 60
    """Of prose; with fewer a guess would be worth little."""
    min_confidence: Share = 0.95
    """Below it a guess counts for nothing."""
    prompts: bool = True
    """Look at what is asked as well, and not at the answers alone."""


class SpamConfig(Config):
    """Each sign of spam counts up to its weight, and a text is spam from `threshold` on."""

    threshold: PositiveFloat = 1.0
    """No sign alone reaches 1."""
    prompts: bool = True
    """Look at what is asked as well, and not at the answers alone."""


class TemplatesConfig(Config):
    """Of each template no more records are left than max(`min_count`, `max_share` of all records)."""

    max_share: Share = 0.2
    min_count: PositiveInt = 100
    max_count: PositiveInt | None = None
    """A bound below that one."""
    words: PositiveInt = 12
    """At the beginning and at the end that records of one template share, slots included."""
