"""A reference answer and the constraints that it meets: written from a topic's sentences, in the order of a plan."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness_suites.instruction_following.wording import ENDS, GAPS, HEADINGS, SEPARATORS, STARTS

Pick = Callable[[str, Sequence[Any]], Any]
"""One of the options, always the same for a name."""

Target = Mapping[str, Any]


@dataclass(frozen=True)
class Draft:
    """A text so far. `sentences` counts those in it; `parts` are what `layout` chose, for those who ask for them."""

    text: str
    sentences: int
    parts: Mapping[str, Any]


def write(topic: Mapping[str, Any], plan: Sequence[str], side: str, pick: Pick) -> tuple[str, list[Target]]:
    """The reference, and a constraint for every name in the plan."""
    draft = _decorated(_layout(topic, plan, side, pick), topic, plan, side, pick)
    return draft.text, [_constraint(name, draft, topic, pick) for name in plan]


# ---------------------------------------------------------------- the text


def _layout(topic: Mapping[str, Any], plan: Sequence[str], side: str, pick: Pick) -> Draft:
    """Three to five of the topic's sentences, at least so many that two of its keywords are among them."""
    size = pick("size", (3, 4, 5))
    while len(_present(topic["keywords"], " ".join(topic["sentences"][:size]))) < 2:
        size += 1
    body = topic["sentences"][:size]
    half = size // 2
    first, second = " ".join(body[:half]), " ".join(body[half:])
    parts: dict[str, Any] = {}
    if "bullets" in plan:
        text = "\n".join(f"- {sentence}" for sentence in body)
    elif "paragraphs" in plan:
        parts["paragraphs"] = pick("paragraphs", (2, 3))
        blocks = [first, second] if parts["paragraphs"] == 2 else [body[0], body[1], " ".join(body[2:])]
        text = "\n\n".join(blocks)
    elif "headings" in plan:
        parts["headings"] = pick("headings", HEADINGS[side])
        text = "\n\n".join(
            f"# {heading}\n\n{block}" for heading, block in zip(parts["headings"], (first, second), strict=True)
        )
    elif "responses" in plan:
        parts["separator"] = pick("separator", SEPARATORS[side])
        text = f"{first}\n\n{parts['separator']}\n\n{second}"
    elif "json" in plan:
        text = json.dumps({"title": topic["title"], "text": " ".join(body)})
    else:
        text = " ".join(body)
    return Draft(text, size, parts)


def _decorated(draft: Draft, topic: Mapping[str, Any], plan: Sequence[str], side: str, pick: Pick) -> Draft:
    text, sentences, parts = draft.text, draft.sentences, dict(draft.parts)
    if "placeholders" in plan:
        text, sentences = f"{text} {GAPS[side]}", sentences + 1
    if "ends" in plan:
        parts["ends"] = pick("ends", ENDS[side])
        text, sentences = text + ("\n\n" if "bullets" in plan else " ") + parts["ends"], sentences + 1
    if "starts" in plan:
        parts["starts"] = pick("starts", STARTS[side])
        text = f"{parts['starts']} {text}"
    if "postscript" in plan:
        text = f"{text}\n\nP.S. {topic['ps']}"
    if "highlights" in plan:
        for word in _present(topic["keywords"], text)[:2]:
            text = re.sub(_word(word), r"**\g<0>**", text, count=1, flags=re.IGNORECASE)
    for casing, change in (("lower", str.lower), ("upper", str.upper), ("title", _title)):
        if casing in plan:
            text = change(text)
    return Draft(text, sentences, parts)


def _title(text: str) -> str:
    return re.sub(r"(?<![\w-])\w", lambda match: match[0].upper(), text)


# ---------------------------------------------------------------- what it meets


def _constraint(name: str, draft: Draft, topic: Mapping[str, Any], pick: Pick) -> Target:
    text = draft.text
    tens = 10 * (_count_words(text) // 10)
    match name:
        case "words":
            return {"kind": "words", "at_least": tens, "at_most": tens + 10}
        case "most_words":
            return {"kind": "words", "at_most": tens + 10}
        case "sentences":
            return {"kind": "sentences", "exactly": draft.sentences}
        case "paragraphs":
            return {"kind": "paragraphs", "exactly": draft.parts["paragraphs"]}
        case "bullets":
            return {"kind": "bullets", "exactly": text.count("- ")}
        case "headings":
            return {"kind": "headings", "exactly": 2}
        case "heading":
            return {"kind": "heading", "text": pick("heading", draft.parts["headings"])}
        case "highlights" | "placeholders":
            return {"kind": name, "at_least": 2}
        case "keyword":
            word = pick("keyword", _present(topic["keywords"], text))
            return {"kind": "keyword", "text": word, "at_least": min(2, _occurrences(word, text))}
        case "forbidden":
            return {"kind": "keyword", "text": topic["avoid"], "exactly": 0}
        case "responses":
            return {"kind": "responses", "separator": draft.parts["separator"], "exactly": 2}
        case "starts" | "ends":
            return {"kind": name, "text": draft.parts[name]}
        case "postscript":
            return {"kind": "postscript", "marker": "P.S."}
        case "no_commas":
            return {"kind": "without", "text": ","}
        case "lower" | "upper" | "title":
            return {"kind": "casing", "to": name}
        case "json":
            return {"kind": "json", "keys": ["title", "text"]}
    raise ValueError(f"no such constraint: {name}")


def _present(words: Sequence[str], text: str) -> list[str]:
    return [word for word in words if _occurrences(word, text)]


def _occurrences(word: str, text: str) -> int:
    return len(re.findall(_word(word), text, flags=re.IGNORECASE))


def _word(word: str) -> str:
    return rf"(?<!\w){re.escape(word)}(?!\w)"


def _count_words(text: str) -> int:
    return sum(any(map(str.isalnum, word)) for word in text.split())
