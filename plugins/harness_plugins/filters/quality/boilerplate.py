"""The `boilerplate` filter: phrases of assistants and of web pages, and offers of further help at the end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from harness.data.record import Answer, Flaw, Record
from harness_plugins.filters.quality.configs import BoilerplateConfig
from harness_plugins.filters.quality.phrases import ASSISTANT, CLOSINGS, WEB
from harness_plugins.filters.quality.text import learnt

_CLOSING = re.compile(rf"\s*(?:{'|'.join(CLOSINGS)})\b[^.!?\n]*[.!?]*\s*\Z", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?)\n:])\s+(?=\S)")
CLOSING_CHARACTERS = 200
"""At the end of an answer, among which closings are looked for."""


class BoilerplateFilter:
    """A phrase that is in what is asked as well is what the talk is about."""

    def __init__(self, config: BoilerplateConfig) -> None:
        self.closings = config.closings
        own = tuple(phrase.casefold() for phrase in config.more)
        self.phrases = (("assistant_phrase", ASSISTANT), ("web_phrase", WEB), ("own_phrase", own))

    def check(self, record: Record) -> Sequence[Flaw]:
        asked = ""
        flaws: list[Flaw] = []
        open_ended: dict[int, str] = {}
        for index, text in learnt(record):
            plain = text.casefold().replace("\u2019", "'")
            for reason, phrases in self.phrases:
                for phrase in phrases:
                    if phrase in plain and phrase not in (asked := asked or record.asked.casefold()):
                        flaws.append(Flaw(reason, phrase, answer=index))
                        break
            if self.closings and record.kind != "text" and (kept := without_closing(text)) != text:
                open_ended[index] = kept
        return [*flaws, *_closings(record, open_ended)]


def _closings(record: Record, kept: dict[int, str]) -> list[Flaw]:
    """A flaw for each of these answers, all with the same record, in which none has its closing any more."""
    if not kept:
        return []
    answers = tuple(Answer(kept.get(index, answer.text), answer.worth) for index, answer in enumerate(record.answers))
    mended = replace(record, answers=answers)
    return [Flaw("closing", "an offer of further help", answer=index, rewritten=mended) for index in kept]


def without_closing(text: str) -> str:
    """The text without the offers of help at its end; as it is where it ends otherwise, or is nothing else."""
    kept = text
    while (start := _closing_start(kept)) is not None and (shorter := kept[:start].rstrip()):
        kept = shorter
    return kept


def _closing_start(text: str) -> int | None:
    """Where the last sentence begins, if it is a closing."""
    stripped = text.rstrip()
    tail = max(0, len(stripped) - CLOSING_CHARACTERS)
    breaks = [found.end() for found in _SENTENCE.finditer(stripped, tail)]
    if not breaks:
        return None
    start = breaks[-1]
    return start if _CLOSING.match(stripped.replace("\u2019", "'"), start) else None
