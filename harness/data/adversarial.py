"""Harder variants of a record, of which the right answer stays what it was or becomes a known one.

    more_tools      tools of other records stand beside its own: the calls stay right
    missing_tool    the tools that its answer calls are gone: the right answer is [], as harness/tools.py has it
    shuffled_tools  its tools in another order
    typos           letters swapped and case lost in words of the question that no answer and no target holds
    irrelevant      a sentence about something else before the question (Shi et al. 2023, arXiv:2302.00093)

Where the kind does not apply, or might change what is right, there is no variant.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, Literal, get_args

from harness.data.record import Answer, Record
from harness.overlap import words_of
from harness.tools import ToolCall, parse_calls
from harness.types import Prompt, canonical_json

Kind = Literal["more_tools", "missing_tool", "shuffled_tools", "typos", "irrelevant"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DISTRACTORS = 3
"""Tools of others that are added at most."""
TYPOS = 0.15
"""Share of the words that may be changed which are."""
ASIDES = (
    "My neighbour painted her fence green last week.",
    "It has been raining here since the morning.",
    "The museum on the corner opens at nine.",
    "My cousin is learning to play the cello.",
    "There was a long queue at the bakery.",
    "The old clock in the hall has stopped again.",
)


def adversarial(record: Record, kind: Kind, rng: Random, pool: Sequence[Record]) -> Record | None:
    """A variant whose prompt's id is the old one with the kind, None if there is none. `pool` are records that tools
    are borrowed from. Raises ValueError for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
    if kind in ("typos", "irrelevant"):
        made = _reworded(record, kind, rng)
    else:
        tools = _tools(record)
        made = None if tools is None or record.prompt.schema else _retooled(record, tools, kind, rng, pool)
    return None if made is None else replace(made, prompt=replace(made.prompt, id=f"{record.prompt.id}-{kind}"))


# ---------------------------------------------------------------- tools


def _retooled(record: Record, tools: list[Any], kind: Kind, rng: Random, pool: Sequence[Record]) -> Record | None:
    if kind == "shuffled_tools":
        order = rng.sample(tools, len(tools))
        return None if order == tools else _with_tools(record, order)
    calls = _right_calls(record)
    if not calls or not {call.name for call in calls} <= {tool["name"] for tool in tools}:
        return None  # where no tool fits, another one might; and calls of what is not there are not right
    if kind == "more_tools":
        more = _borrowed(tools, rng, pool, DISTRACTORS)
        return _with_tools(record, rng.sample([*tools, *more], len(tools) + len(more))) if more else None
    called = {call.name for call in calls}
    left = [tool for tool in tools if tool["name"] not in called] or _borrowed(tools, rng, pool, 1)
    return _declined(_with_tools(record, left)) if left else None


def _tools(record: Record) -> list[Any] | None:
    tools = json.loads(record.prompt.tools or "[]")
    named = isinstance(tools, list) and all(isinstance(t, dict) and isinstance(t.get("name"), str) for t in tools)
    return tools if named and tools else None


def _right_calls(record: Record) -> list[ToolCall] | None:
    """The calls of the best answer, else of the reference; None where they are not known to be right."""
    good = [answer.text for answer in record.answers if answer.worth == 1.0]
    text = good[0] if good else record.prompt.reference
    try:
        return None if text is None else parse_calls(text)
    except ValueError:
        return None


def _borrowed(tools: Sequence[Any], rng: Random, pool: Sequence[Record], count: int) -> list[Any]:
    """Tools of the pool that share no word of their names with these, nor with each other: none does what they do."""
    taken = {word for tool in tools for word in _name_words(tool)}
    found: list[Any] = []
    for other in rng.sample(pool, len(pool)):
        for tool in _tools(other) or ():
            if len(found) < count and not taken & _name_words(tool):
                found.append(tool)
                taken |= _name_words(tool)
        if len(found) == count:
            break
    return found


def _name_words(tool: Any) -> set[str]:
    return set(words_of(tool["name"].replace("_", " "))) - {"get", "the", "of", "a", "by", "to"}


def _with_tools(record: Record, tools: Sequence[Any]) -> Record:
    return replace(record, prompt=replace(record.prompt, tools=canonical_json(tools)))


def _declined(record: Record) -> Record | None:
    """With [] for the right answer, and the calls for the rejected one. None for kinds that have no such form."""
    prompt = replace(record.prompt, reference="[]", target=_declined_target(record.prompt))
    if record.kind == "prompt":
        return replace(record, prompt=prompt)
    if record.kind == "pair":
        return replace(record, prompt=prompt, answers=(Answer("[]"), Answer(record.answers[0].text, 0.0)))
    if record.kind in ("demonstration", "label"):
        return replace(record, prompt=prompt, answers=(Answer("[]"),))
    return None


def _declined_target(prompt: Prompt) -> str:
    target = json.loads(prompt.target or "null")
    return canonical_json({**target, "calls": []}) if isinstance(target, dict) and "calls" in target else ""


# ---------------------------------------------------------------- words


def _reworded(record: Record, kind: Kind, rng: Random) -> Record | None:
    messages = record.prompt.messages
    if not messages or messages[-1].get("role") != "user" or not isinstance(messages[-1].get("content"), str):
        return None
    text = messages[-1]["content"]
    if kind == "typos":
        changed = _misspelt(text, _kept_words(record), rng)
    else:  # what is said of a text itself ("shorten this:") would be said of the sentence too
        question = text.rstrip().endswith("?") and "\n" not in text.strip()
        changed = f"{rng.choice(ASIDES)} {text}" if question else text
    if changed == text:
        return None
    return replace(
        record, prompt=replace(record.prompt, messages=(*messages[:-1], {**messages[-1], "content": changed}))
    )


def _kept_words(record: Record) -> set[str]:
    """Words that an answer may have to repeat."""
    texts = [*(answer.text for answer in record.answers), record.prompt.reference or "", record.prompt.target]
    return {word for text in [*texts, record.prompt.tools] for word in words_of(text.replace("_", " "))}


def _misspelt(text: str, kept: set[str], rng: Random) -> str:
    """Words of four lower-case letters and more, outside quotes and code: two inner letters swapped, or in capitals."""
    if any(mark in text for mark in '"`“”{}<>'):
        return text
    words = text.split(" ")
    able = [at for at, word in enumerate(words) if _able(word) and word not in kept]
    for at in sorted(rng.sample(able, -(-len(able) * int(100 * TYPOS) // 100))):
        words[at] = words[at].upper() if rng.random() < 0.5 else _swapped(words[at], rng)
    return " ".join(words)


def _able(word: str) -> bool:
    return len(word) > 3 and word.isalpha() and word.islower() and len(set(word[1:-1])) > 1


def _swapped(word: str, rng: Random) -> str:
    at = rng.choice([at for at in range(1, len(word) - 2) if word[at] != word[at + 1]])
    return f"{word[:at]}{word[at + 1]}{word[at]}{word[at + 2 :]}"
