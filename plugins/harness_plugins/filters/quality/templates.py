"""The `templates` filter: records that are one text with slots, beyond what may be left of it.

Numbers, links, addresses, quoted text and names (words with a capital that begin no sentence) are slots. Records are of
one template if they begin and end with the same words, slots included; what is between may be anything, so that a slot
may hold a whole passage. Whose records are left does not depend on the order of the data: those of the least hash are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np

from harness.data.record import Flaw, Record
from harness.types import canonical_json
from harness_plugins.filters.quality.configs import TemplatesConfig

SLOT = "\x00"
_QUOTED = re.compile(r"\"[^\"\n]*\"|\u201c[^\u201d\n]*\u201d|\u00ab[^\u00bb\n]*\u00bb|`[^`\n]+`|(?<!\w)'[^'\n]*'(?!\w)")
_LINK = re.compile(r"\S*(?:://|@|www\.)\S*")
_QUOTES = "\"'`\u201c\u00ab"
_LINKS = ("://", "@", "www.")
_EDGE = re.compile(r"^[\W_]+|[\W_]+$")
_DIGIT = re.compile(r"\d")
_SENTENCE_ENDS = (".", "!", "?", ":", "\n")


class TemplatesFilter:
    """What is asked and what is answered are one text here. System messages, which records share, are left out."""

    def __init__(self, config: TemplatesConfig) -> None:
        self.config = config

    def sketch(self, record: Record) -> bytes:
        """16 bytes: the template's hash, and that of the content."""
        words = masked(record.text)
        k = self.config.words
        ends = words if len(words) <= 2 * k else [*words[:k], SLOT * 2, *words[-k:]]
        return _hash("\n".join(ends)) + _hash(canonical_json([record.prompt.id, record.text]))

    def survey(self, sketches: Sequence[bytes]) -> Mapping[int, Flaw]:
        hashes_N_2 = np.frombuffer(b"".join(sketches), ">u8").reshape(-1, 2)
        _, template_N, counts_K = np.unique(hashes_N_2[:, 0], return_inverse=True, return_counts=True)
        # By template, then by content: the rank within a template decides.
        order_N = np.lexsort((hashes_N_2[:, 1], template_N))
        starts_K = np.cumsum(counts_K) - counts_K
        rank_N = np.empty(len(order_N), np.int64)
        rank_N[order_N] = np.arange(len(order_N)) - starts_K[template_N[order_N]]
        most = self._most(len(sketches))
        return {
            index: Flaw(
                "templated", f"{counts_K[template_N[index]]} records have its template, of which {most} are left"
            )
            for index in np.flatnonzero(rank_N >= most).tolist()
        }

    def _most(self, records: int) -> int:
        """Records that may be left of one template."""
        most = max(self.config.min_count, int(self.config.max_share * records))
        return most if self.config.max_count is None else min(most, self.config.max_count)


def masked(text: str) -> list[str]:
    """Its words in lower case without punctuation around them; slots that follow each other are one."""
    if any(mark in text for mark in _QUOTES):
        text = _QUOTED.sub(SLOT, text)
    if any(mark in text for mark in _LINKS):
        text = _LINK.sub(SLOT, text)
    words: list[str] = []
    begins = True
    for token in text.split():
        word = token if token.isalnum() else _EDGE.sub("", token)
        name = word[:1].isupper() and not begins and word != "I"
        if SLOT in token or name or not (word.isalpha() or _DIGIT.search(word) is None):
            if not words or words[-1] != SLOT:
                words.append(SLOT)
        elif word:
            words.append(word.casefold())
        begins = token.endswith(_SENTENCE_ENDS)
    return words


def _hash(text: str) -> bytes:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
