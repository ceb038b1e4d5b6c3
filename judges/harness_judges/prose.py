"""Text in words and sentences, for judges of how it is written. Of languages that put spaces between words."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_LIST_MARK = r"[ \t]*(?:[-*+•]|\d+[.)])[ \t]+"
LIST_ITEM = re.compile(rf"^{_LIST_MARK}\S", re.MULTILINE)
# Possessive and from the first mark of a run only: a model's loop of thousands of full stops is read in one pass.
_SENTENCE_END = re.compile(rf"(?<![.!?…])[.!?…]++[\"'”’)\]*_]*+(?=\s|$)|\n\s*\n|\n(?={_LIST_MARK}\S)")


def words(text: str) -> list[str]:
    """Runs of letters, with the apostrophes and hyphens inside them; numbers are no words."""
    return _WORD.findall(text)


def sentences(text: str) -> list[str]:
    """What ends with `.`, `!`, `?` or an ellipsis before white space, with a blank line, or before a list item.

    Pieces without a word (the number of a list item, say) are none. An abbreviation before a space ends one.
    """
    return [piece.strip() for piece in _SENTENCE_END.split(text) if _WORD.search(piece)]
