"""What the quality filters see of a record: the answers to be learnt, and of a text its prose."""

from __future__ import annotations

import re
from functools import lru_cache

from harness.data.record import Record
from harness.tools import CALL_MARKS

# What JSON, calls and markup begin with. `[1]` and `[Name]` may begin prose.
_DATA = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*[\[{\"\]]|<(?!think>)[!?a-zA-Z])")
_MARKS = tuple(mark for mark in CALL_MARKS if "think" not in mark)
_QUERY = ("SELECT ", "INSERT INTO ", "UPDATE ", "CREATE TABLE ", "ALTER TABLE ", "DELETE FROM ")
_FENCED = re.compile(r"^ {0,3}(```+|~~~+)[^\n]*$.*?(?:^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`[^`\n]+`")
_FORMULA = re.compile(r"\$\$.*?\$\$|\\\[.*?\\\]|\\\(.*?\\\)", re.DOTALL)
_TABLE = re.compile(r"^[ \t]*\|.*\|[ \t]*$", re.MULTILINE)
_CODE_LINE = re.compile(
    r"^\s*(?:def |class |import |from [\w.]+ import|#include|return\b|@\w|//|/\*|\}|else\b|elif |try:|except\b"
    r"|(?:if|for|while|with) .*[:{]$|(?:var|let|const|function|public|private|static|void|int) \w|\w+(?:\.\w+)*\(.*\)$"
    r"|\w+ [-+*/]?= )|[;{}]\s*$"
)
CODE = 0.5
"""Share of the lines, from three on, that must look like code for a text to be code."""


def learnt(record: Record) -> list[tuple[int, str]]:
    """The answers that training is to make likelier, by index. One of worth 0 is there to be bad."""
    return [(index, answer.text) for index, answer in enumerate(record.answers) if answer.worth != 0]


@lru_cache(maxsize=64)  # several filters ask for the same text in turn
def prose(text: str) -> str:
    """The text without code blocks, formulas and tables; "" where it is JSON, calls, markup or code as a whole."""
    if _DATA.match(text) or (start := text.lstrip()).startswith(_MARKS) or start.startswith(_QUERY):
        return ""
    if start.startswith("[") and start.rstrip().endswith("]"):
        return ""
    if "```" in text or "~~~" in text:
        text = _FENCED.sub("", text)
    if "`" in text:
        text = _INLINE.sub("", text)
    if "|" in text:
        text = _TABLE.sub("", text)
    if "$$" in text or "\\" in text:
        text = _FORMULA.sub("", text)
    return "" if _is_code(text) else text


def _is_code(text: str) -> bool:
    lines = [line for line in text.splitlines() if line and not line.isspace()] if text.count("\n") > 1 else []
    return len(lines) > 2 and sum(_CODE_LINE.search(line) is not None for line in lines) >= CODE * len(lines)


def is_spaced(text: str, words: int) -> bool:
    """Whether white space divides its words (there are so many), as it does not in Chinese, Japanese or Thai."""
    return text.isascii() or len(text) < 12 * words


def units(text: str) -> list[str]:
    """Its words, or its characters where it has no spaces between words."""
    words = text.split()
    return words if is_spaced(text, len(words)) else [character for word in words for character in word]
