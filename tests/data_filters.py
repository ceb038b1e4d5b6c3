"""A small filter in a plugin file: words that no answer, or no prompt, may hold."""

from __future__ import annotations

from pathlib import Path

PLUGIN = '''
from dataclasses import replace
from harness import Config, hookimpl
from harness.data.record import Answer, Flaw
from harness.specs import FilterSpec


class WordsConfig(Config):
    answers: list[str] = []
    """Answers that hold one of these are flawed."""
    prompts: list[str] = []
    """So are records that ask with one of these."""
    offers: bool = False
    """Whether each is offered without the word."""


class Words:
    def __init__(self, config):
        self.config = config

    def check(self, record):
        flaws = [Flaw("asked", word) for word in self.config.prompts if word in record.asked]
        for at, answer in enumerate(record.answers):
            for word in self.config.answers:
                if word in answer.text and self.config.offers:
                    mended = [replace(a, text=a.text.replace(word, "")) for a in record.answers]
                    flaws.append(Flaw("said", word, rewritten=replace(record, answers=tuple(mended))))
                elif word in answer.text:
                    flaws.append(Flaw("said", word, answer=at))
        return flaws


class Repeats:
    def sketch(self, record):
        return record.text.encode()

    def survey(self, sketches):
        first = {}
        return {i: Flaw("repeat", other=first[s]) for i, s in enumerate(sketches) if first.setdefault(s, i) != i}

    def figures(self):
        return {"looked": 1.0}


@hookimpl
def harness_register_filters():
    return [
        FilterSpec("words", "no such words", lambda config, context: Words(config), WordsConfig),
        FilterSpec("repeats", "no record twice", lambda config, context: Repeats()),
    ]
'''


def write_filters(folder: Path) -> Path:
    file = folder / "word_filters.py"
    file.write_text(PLUGIN)
    return file
