"""Whether a text meets a constraint. After the verifiable instructions of IFEval (Zhou et al. 2023, arXiv:2311.07911).

A check returns what is wrong with a text, or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from harness_judges import prose
from harness_judges.instructions.constraints import (
    Bounds,
    Casing,
    Constraint,
    Count,
    Edge,
    Heading,
    Json,
    Keyword,
    Postscript,
    Responses,
    Without,
)
from harness_judges.json_schema import parse_strict
from harness_judges.wording import show

_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+([^\s#][^\n]*)$", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*[-*+•][ \t]+\S", re.MULTILINE)
# An asterisk that begins a bullet is followed by a space, and so highlights nothing.
_HIGHLIGHT = re.compile(r"\*\*[^*\s](?:[^*\n]*[^*\s])?\*\*|(?<!\*)\*[^*\s](?:[^*\n]*[^*\s])?\*(?!\*)")
# The text of a Markdown link stands in brackets too.
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]+\](?!\()")


def paragraphs(text: str) -> list[str]:
    """What blank lines divide."""
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def words(text: str) -> list[str]:
    """What white space divides, unless it is nothing but signs (the mark of a bullet, a dash)."""
    return [word for word in text.split() if any(map(str.isalnum, word))]


COUNTS: Mapping[str, Callable[[str], int]] = {
    "words": lambda text: len(words(text)),
    "sentences": lambda text: len(prose.sentences(text)),
    "paragraphs": lambda text: len(paragraphs(text)),
    "bullets": lambda text: len(_BULLET.findall(text)),
    "headings": lambda text: len(_HEADING.findall(text)),
    "highlights": lambda text: len(_HIGHLIGHT.findall(text)),
    "placeholders": lambda text: len(_PLACEHOLDER.findall(text)),
}


def problem(constraint: Constraint, text: str) -> str | None:
    """What keeps the text from meeting the constraint, or None if it is met."""
    match constraint:
        case Count(kind=kind):
            return _out_of(constraint, COUNTS[kind](text), kind)
        case Keyword(text=wanted):
            return _out_of(constraint, _occurrences(wanted, text), f"times {show(wanted)}")
        case Responses(separator=separator):
            return _responses(constraint, separator, text)
        case Heading(text=wanted):
            found = [heading.rstrip(" \t#").casefold() for heading in _HEADING.findall(text)]
            return None if wanted.strip().casefold() in found else f"no heading says {show(wanted)}"
        case Edge(kind="starts", text=wanted):
            return None if text.lstrip().startswith(wanted) else f"it does not start with {show(wanted)}"
        case Edge(text=wanted):
            return None if text.rstrip().endswith(wanted) else f"it does not end with {show(wanted)}"
        case Postscript(marker=marker):
            return _postscript(marker, text)
        case Without(text=unwanted):
            return f"{show(unwanted)} is in it" if unwanted in text else None
        case Casing(to=to):
            return _casing(to, text)
        case Json(keys=keys):
            return _json(keys, text)


def _out_of(bounds: Bounds, number: int, unit: str) -> str | None:
    if bounds.exactly is not None and number != bounds.exactly:
        return f"{number} {unit} where exactly {bounds.exactly} are asked for"
    if bounds.at_least is not None and number < bounds.at_least:
        return f"{number} {unit} where at least {bounds.at_least} are asked for"
    if bounds.at_most is not None and number > bounds.at_most:
        return f"{number} {unit} where at most {bounds.at_most} are asked for"
    return None


def _occurrences(wanted: str, text: str) -> int:
    """As whole words, with any white space between those of a phrase."""
    phrase = r"\s+".join(re.escape(word) for word in wanted.split())
    return len(re.findall(rf"(?<!\w){phrase}(?!\w)", text, re.IGNORECASE))


def _responses(constraint: Responses, separator: str, text: str) -> str | None:
    parts = re.split(rf"^[ \t]*{re.escape(separator.strip())}[ \t]*$", text, flags=re.MULTILINE)
    plain = [" ".join(part.split()).casefold() for part in parts]
    if not all(plain):
        return f"there is nothing on one side of {show(separator)}"
    if len(set(plain)) < len(plain):
        return "two of the responses are the same"
    return _out_of(constraint, len(plain), f"responses divided by {show(separator)}")


def _postscript(marker: str, text: str) -> str | None:
    last = paragraphs(text)[-1:]
    if not last or not last[0].startswith(marker):
        return f"the last paragraph does not begin with {show(marker)}"
    return None if words(last[0].removeprefix(marker)) else f"nothing follows {show(marker)}"


def _casing(to: str, text: str) -> str | None:
    found = prose.words(text)
    match to:
        case "lower":
            wrong = [word for word in found if word != word.lower()]
        case "upper":
            wrong = [word for word in found if word != word.upper()]
        case _:
            wrong = [word for word in found if word[0] != word[0].upper()]
    if not found:
        return "there is no word in it"
    return f"{show(wrong[0])} is not in {to} case" if wrong else None


def _json(keys: Sequence[str] | None, text: str) -> str | None:
    try:
        value = parse_strict(text)
    except ValueError as error:
        return f"it is not JSON: {error}"
    if keys is None:
        return None if isinstance(value, dict | list) else "it is neither a JSON object nor a list"
    if not isinstance(value, dict):
        return "it is not a JSON object"
    return None if set(value) == set(keys) else f"its keys are {show(list(value))} where {show(list(keys))} are due"
