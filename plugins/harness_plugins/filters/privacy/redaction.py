"""Spans of text that must not be learnt, and the same record without them.

text -> Find -> spans -> placeholders, over every text of a record -> flaws that share one rewritten record
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.data.record import Flaw, Record


@dataclass(frozen=True, slots=True)
class Span:
    """`text[start:end]` is a `reason`. `key` is what it says, whatever it looks like: one key, one placeholder."""

    start: int
    end: int
    reason: str
    key: str


Find = Callable[[str], Sequence[Span]]
"""Spans of a text, in order, none over another."""
Placeholder = Callable[[str, int], str]
"""From a reason, and the how-manieth value of that reason in the record it is (from 1)."""

_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NUMBER = re.compile(r"-?\d[\d.eE+-]*")
_MEMBER = re.compile(r'"\s*:\s*-?$')
_ENDED = re.compile(r"\s*[,}]")
_PLACEHOLDER = re.compile(r"\[[A-Z][A-Z_]*(?:_\d+)?\]")


def unescaped(text: str) -> str:
    """The text with escapes (`\\n`, `\\u00e9`) as spaces, so that what follows one begins a word; as long as it was."""
    return _ESCAPE.sub(lambda found: " " * len(found[0]), text) if "\\" in text else text


def apart(spans: list[Span]) -> list[Span]:
    """Spans in order, without those that overlap one that was named before them."""
    kept: list[Span] = []
    for span in spans:
        at = bisect_right(kept, span.start, key=lambda other: other.start)
        if (at == 0 or kept[at - 1].end <= span.start) and (at == len(kept) or span.end <= kept[at].start):
            kept.insert(at, span)
    return kept


def redact(record: Record, find: Find, placeholder: Placeholder, *, tools: bool) -> list[Flaw]:
    """Flaws of every text of the record; with `tools`, of its tools too, which are not rewritten."""
    said = _Redaction(find, placeholder)
    prompt = record.prompt
    messages = said.of("the prompt", None, list(prompt.messages))
    answers = [
        replace(answer, text=said.of(f"answer {number}", number - 1, answer.text))
        for number, answer in enumerate(record.answers, start=1)
    ]
    reference = said.of("the reference", None, prompt.reference)
    target = said.of("the target", None, prompt.target)
    extra = said.of("other columns", None, dict(record.extra))
    found = Counter({(span.reason, "the tools"): 1 for span in find(unescaped(prompt.tools))} if tools else {})
    if not said.found and not found:
        return []
    mended = replace(
        record,
        prompt=replace(prompt, messages=tuple(messages), reference=reference, target=target),
        answers=tuple(answers),
        extra=extra,
    )
    rewritten = None if found else mended
    return [
        Flaw(reason, f"{count} in {place if (at := said.answers.get(place)) is None else 'an answer'}", at, rewritten)
        for (reason, place), count in (said.found + found).items()
    ]


class _Redaction:
    """Of one record: which value has which placeholder, and how much was found where."""

    def __init__(self, find: Find, placeholder: Placeholder) -> None:
        self.find, self.placeholder = find, placeholder
        self.numbers: dict[str, dict[str, int]] = {}
        self.found: Counter[tuple[str, str]] = Counter()
        self.answers: dict[str, int | None] = {}

    def of(self, place: str, answer: int | None, value: Any) -> Any:
        self.answers[place] = answer
        return self._value(value, place, "")

    def _value(self, value: Any, place: str, lead: str) -> Any:
        """Any JSON value without what was found in it. `lead` is the key that it stands under, which may say what a
        number is."""
        if isinstance(value, str):
            return self._text(value, place, lead)
        if isinstance(value, Mapping):
            return {key: self._value(inner, place, f"{key}: ") for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._value(inner, place, lead) for inner in value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value if (text := self._text(str(value), place, lead)) == str(value) else text
        return value

    def _text(self, text: str, place: str, lead: str) -> str:
        # A placeholder is shorter or longer than what was there, and what is near a word decides what a number is: so
        # again until nothing is found. Each time less of the text is left that is no placeholder.
        while spans := self._spans(text, lead):
            for span in spans:
                self.found[span.reason, place] += 1
            text = replaced(text, [(span.start, span.end, self._placeholder(span)) for span in spans])
        return text

    def _spans(self, text: str, lead: str) -> list[Span]:
        found = self.find(unescaped(lead + text))
        shift = len(lead)
        spans = [replace(span, start=span.start - shift, end=span.end - shift) for span in found] if shift else found
        return [s for s in spans if s.start >= 0 and not _PLACEHOLDER.search(text, s.start, s.end)]

    def _placeholder(self, span: Span) -> str:
        numbers = self.numbers.setdefault(span.reason, {})
        return self.placeholder(span.reason, numbers.setdefault(span.key, len(numbers) + 1))


def replaced(text: str, changes: Sequence[tuple[int, int, str]]) -> str:
    """The text with `[start:end]` as said. A number that is a JSON value becomes a string: JSON stays JSON."""
    strings = _json_strings(text)
    parts, at = [], 0
    for start, end, by in changes:
        if _is_bare(text, start, end, strings):
            start, end, by = *_number_around(text, start, end), f'"{by}"'
        if start >= at:  # two spans of one number
            parts += [text[at:start], by]
            at = end
    return "".join([*parts, text[at:]])


def _json_strings(text: str) -> list[tuple[int, int]] | None:
    """Where the strings of a JSON object or array lie, None if the text is neither."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return [found.span() for found in _STRING.finditer(text)]


def _is_bare(text: str, start: int, end: int, strings: list[tuple[int, int]] | None) -> bool:
    """Whether it is a number outside of JSON strings; of JSON within other text, one that follows a key."""
    if strings is None:
        return _MEMBER.search(text, max(0, start - 20), start) is not None and _ENDED.match(text, end) is not None
    at = bisect_right(strings, (start, len(text))) - 1
    return at < 0 or strings[at][1] <= start


def _number_around(text: str, start: int, end: int) -> tuple[int, int]:
    while start > 0 and text[start - 1] in "-+.eE0123456789":
        start -= 1
    found = _NUMBER.match(text, start)
    return start, max(end, found.end()) if found else end
