"""The `symbols` filter: characters that are no text, and Gopher's ratios of symbols, words and lines.

Rae et al. 2021 (arXiv:2112.11446, appendix A1.1). The ratios are of prose: code, JSON, tables and formulas are full of
symbols. Characters that are broken are looked for in everything that is learnt, and in what is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.data.record import Flaw, Record
from harness_plugins.filters.quality.configs import SymbolsConfig
from harness_plugins.filters.quality.text import is_spaced, learnt, prose

# Control characters but tab, line ends; the replacement character; non-characters, surrogates and private use.
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufffd\ufffe\uffff\ud800-\udfff\ue000-\uf8ff]")
# UTF-8 that was read as Latin-1 or Windows-1252: a lead byte's character before a continuation byte's.
_MOJIBAKE = re.compile(
    "[\u00c2\u00c3][\u0080-\u00bf\u20ac\u201a-\u2026\u2018-\u201d\u2122]|\u00e2\u20ac|\u00f0\u0178|\u00ef\u00bb\u00bf"
)
_BLOB = re.compile(r"[A-Za-z0-9+/]{32,}={0,2}")
_BULLET = re.compile(r"\s*(?:[-*+\u2022\u2023\u25cf\u25aa\u25e6\u2013]|\d{1,3}[.)])\s")
_ELLIPSIS = re.compile(r"\.\.\.|\u2026")
_SYMBOL = re.compile(r"[^\w\s]")
# Once a word: whatever follows the letter up to the next space belongs to it.
_ALPHABETIC = re.compile(r"[^\W\d_]\S*")
LINES = 4
"""Under which a list is none."""
SHORTEST = 40
"""Characters of prose below which its symbols are not counted: a sum or a face."""


class SymbolsFilter:
    """The ratios are those of answers that are to be learnt."""

    def __init__(self, config: SymbolsConfig) -> None:
        self.config = config

    def check(self, record: Record) -> Sequence[Flaw]:
        flaws = []
        if (found := self._broken(record.asked)) is not None:
            flaws.append(Flaw(*found))
        for index, text in learnt(record):
            found = self._broken(text) or self._ratios(prose(text), is_document=record.kind == "text")
            if found is not None:
                flaws.append(Flaw(*found, answer=index))
        return flaws

    def _broken(self, text: str) -> tuple[str, str] | None:
        if (found := _CONTROL.search(text)) is not None:
            return "control_characters", f"U+{ord(found[0]):04X}"
        if not text.isascii() and (found := _MOJIBAKE.search(text)) is not None:
            return "mojibake", repr(found[0])
        return None

    def _ratios(self, text: str, *, is_document: bool) -> tuple[str, str] | None:
        """The first reason, and what exactly."""
        words = text.split()
        if words and max(map(len, words)) >= self.config.max_blob:
            for found in _BLOB.finditer(text):
                if len(found[0]) >= self.config.max_blob:
                    return "blob", f"{len(found[0])} characters"
        return (
            self._characters(text, words)
            or self._words(text, words)
            or self._lines(text, len(words), is_document=is_document)
        )

    def _characters(self, text: str, words: Sequence[str]) -> tuple[str, str] | None:
        if len(text) < SHORTEST:
            return None
        share = len(_SYMBOL.findall(text)) / max(1, sum(map(len, words)))
        return ("symbol_share", f"{share:.0%} symbols") if share > self.config.max_symbols else None

    def _words(self, text: str, words: Sequence[str]) -> tuple[str, str] | None:
        if len(words) < self.config.min_words or not is_spaced(text, len(words)):
            return None
        for mark, count in (("#", text.count("#")), ("...", len(_ELLIPSIS.findall(text)))):
            if count > self.config.max_symbol_ratio * len(words):
                return "symbol_ratio", f"{count} of {mark} in {len(words)} words"
        mean = sum(map(len, words)) / len(words)
        if not self.config.min_mean_word <= mean <= self.config.max_mean_word:
            return "word_length", f"{mean:.1f} characters a word"
        alphabetic = len(_ALPHABETIC.findall(text)) / len(words)
        if alphabetic < self.config.min_alphabetic:
            return "alphabetic_words", f"{alphabetic:.0%} of the words have a letter"
        return None

    def _lines(self, text: str, words: int, *, is_document: bool) -> tuple[str, str] | None:
        if words < self.config.min_words:
            return None
        lines = [line for line in text.splitlines() if line.strip()]
        bullets = sum(_BULLET.match(line) is not None for line in lines) / len(lines) if is_document else 0.0
        if len(lines) >= LINES and bullets > self.config.max_bullet_lines:
            return "bullet_lines", f"{bullets:.0%} of the lines"
        ellipses = sum(line.rstrip().endswith(("...", "\u2026")) for line in lines) / len(lines)
        if ellipses > self.config.max_ellipsis_lines:
            return "ellipsis_lines", f"{ellipses:.0%} of the lines"
        return None
