"""The `truncation` filter: answers that end in the middle, told from their text alone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from harness.data.record import Flaw, Record
from harness_plugins.filters.quality.configs import TruncationConfig
from harness_plugins.filters.quality.text import learnt, prose

_FENCE = re.compile(r"^ {0,3}(?:>[ \t]?|[-*+] |\d+[.)] | {2,8})?```", re.MULTILINE)
_JSON = re.compile(r"\s*(?:\{\s*\"|\[\s*[\[{\"])")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ITEM = re.compile(r"\s*(?:[-*+•–]|\d{1,3}[.)]|[A-Za-z][.)]|#{1,6}|\|)\s")
# No sentence, heading or item of English ends with these.
_DANGLING = frozenset(
    {
        "a",
        "an",
        "the",
        "and",
        "or",
        "but",
        "nor",
        "of",
        "because",
        "although",
        "whereas",
        "their",
        "my",
        "your",
        "every",
    }
)
_LATIN = re.compile(r"[0-9A-Za-z\u00c0-\u024f,]\Z")


class TruncationFilter:
    """Looks at answers that are to be learnt. Raw text may have been cut into documents anywhere: only its code blocks
    and JSON are looked at."""

    def __init__(self, config: TruncationConfig) -> None:
        self.config = config

    def check(self, record: Record) -> Sequence[Flaw]:
        found = [(index, self._end(text, is_document=record.kind == "text")) for index, text in learnt(record)]
        return [Flaw(*flaw, answer=index) for index, flaw in found if flaw is not None]

    def _end(self, text: str, *, is_document: bool) -> tuple[str, str] | None:
        """Reason and detail."""
        if "```" in text and len(_FENCE.findall(text)) % 2:
            return "open_fence", "a code block is not closed"
        if _JSON.match(text) and (open_brackets := unclosed(text)):
            return "open_json", f"{open_brackets} brackets are not closed"
        return None if is_document else self._open_end(prose(text).rstrip())

    def _open_end(self, text: str) -> tuple[str, str] | None:
        if not _LATIN.search(text):  # an end in any script's punctuation, or in a script that may have none
            return None
        line = text[text.rfind("\n") + 1 :]
        words = line.split()
        last = words[-1].casefold()
        if len(text.split()) < self.config.min_words:
            return None
        if last in _DANGLING or (last.endswith(",") and len(words) >= self.config.min_line):
            return "open_end", f"it ends with {words[-1][-20:]!r}"
        if len(words) < self.config.min_line or _ITEM.match(line):
            return None
        return "open_end", "a long last line ends without punctuation"


def unclosed(text: str) -> int:
    """Brackets that JSON opens and does not close, 0 where it is whole."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        bare = _STRING.sub("", text)
        opened = sum(map(bare.count, "[{")) - sum(map(bare.count, "]}"))
        return max(0, opened)
    return 0
