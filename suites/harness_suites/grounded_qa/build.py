"""HaluEval's questions turned into prompts with numbered sentences, some of them about a passage that does not answer.

Read in order: the build, which rows serve, one prompt. The data are an asset pinned by sha256, so the result is a
constant: a digest of it is pinned by a test.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.assets import fetch
from harness.protocols import Progress
from harness.types import Prompt
from harness_suites.perplexity.build import is_ours

MAX_ANSWER = 6  # Words.
SENTENCES = range(3, 7)
MAX_CHARACTERS = 560  # Of passage and question: about 140 tokens.

INSTRUCTION = (
    "Answer with a short phrase from the passage and the number of the sentence that says so, like this: "
    "blue whale [3]. If the passage does not answer the question, write: Not in the passage."
)
ABSENT = "Not in the passage."


def build(
    progress: Progress, held_out: int = 300, train: int = 400, unanswerable: float = 0.2
) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """Train and held-out prompts, so many of each; of both the share `unanswerable` asks what the passage does not say.

    Held-out prompts come first in the order of rows, so how many are trained on changes none of them. Raises
    AssetError when the data cannot be had.
    """
    path = fetch("halueval", progress) / "dataset_halueval_qa.jsonl"
    rows = select(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    items, rest = _take(rows, held_out, unanswerable)
    prompts, _ = _take(rest, train, unanswerable)
    return tuple(prompts), tuple(items)


def _take(rows: Sequence[Row], count: int, unanswerable: float) -> tuple[list[Prompt], list[Row]]:
    """`count` prompts from the first rows, and the rows that none of them uses."""
    absent = round(count * unanswerable)
    answered, asked, rest = rows[: count - absent], rows[count - absent : count], list(rows[count:])
    prompts = [_prompt(row, row) for row in answered]
    for row in asked:
        other = _stranger(row, rest)
        rest.remove(other)
        prompts.append(_prompt(row, other))
    # Not by the hash that chose the rows: those that are answered would come first.
    return sorted(prompts, key=lambda prompt: _order(f"prompt {prompt.id}")), rest


# ---------------------------------------------------------------- rows


@dataclass(frozen=True)
class Row:
    """A question whose answer stands in one or two sentences of its passage."""

    id: str
    sentences: tuple[str, ...]
    question: str
    answer: str

    @cached_property
    def words(self) -> frozenset[str]:
        """Of the passage."""
        return frozenset(_plain(" ".join(self.sentences)).split())

    @property
    def support(self) -> list[int]:
        return [number for number, text in enumerate(self.sentences, 1) if _stands_in(self.answer, text)]


def select(data: Iterable[dict[str, str]]) -> list[Row]:
    """The rows that serve, in the order of a hash, no two of them with a sentence or a question in common.

    One serves whose answer is short, is not in the question, and stands word for word in one or two of three to six
    sentences; whose passage is split into sentences beyond doubt; and which is short as a whole.
    """
    chosen: list[Row] = []
    seen: set[str] = set()
    rows = [_row(number, values) for number, values in enumerate(data)]
    for row in sorted((row for row in rows if row is not None), key=lambda row: _order(row.id)):
        keys = {_plain(text) for text in (*row.sentences, row.question)}
        if seen.isdisjoint(keys):
            chosen.append(row)
            seen |= keys
    return chosen


def _row(number: int, values: dict[str, str]) -> Row | None:
    passage, question = values["knowledge"], values["question"].strip()
    sentences = split_sentences(passage)
    row = Row(f"halueval-{number}", tuple(sentences), question, values["right_answer"].strip().rstrip("."))
    serves = (
        not is_ours(passage)  # perplexity's: one suite must not train on what the other holds out
        and len(sentences) in SENTENCES
        and len(passage) + len(question) <= MAX_CHARACTERS
        and 0 < len(row.answer.split()) <= MAX_ANSWER
        and not _stands_in(row.answer, question)
        and len(row.support) in (1, 2)
    )
    return row if serves else None


# A full stop after one of these may end no sentence; a quotation mark between a full stop and a word may belong to
# either side; brackets look like a citation, and stray ones are damage.
_DOUBTFUL = re.compile(
    r"\.\.|[\[\]]|[.!?]\"\w|\b(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Jr|Sr|Inc|Ltd|Co|Corp|vs|v|No|Lt|Col|Gen|Sgt|Capt|Prof|Rev|Hon|Mt"
    r"|Ft|Bros|Vol|[Ff]eat|ft|c|ca|etc|[ap]\.m|e\.g|i\.e)\."
)
# The data's paragraphs follow each other without a space.
_END = re.compile(r"(?:(?<=\w[.!?])|(?<=[\")”'][.!?])|(?<=\w\.[\")”])(?=\s))\s*(?=[\"“(]?[A-Z])")


def split_sentences(passage: str) -> list[str]:
    """The sentences of a passage, none where an abbreviation leaves in doubt where they end."""
    if _DOUBTFUL.search(passage):
        return []
    return [text.strip() for text in _END.split(passage) if text.strip()]


def _stranger(row: Row, others: Sequence[Row]) -> Row:
    """Of other rows the one whose passage is nearest to this question, and has its answer nowhere.

    Near is the sum over shared words of how rare they are, in whole numbers so that no rounding decides.
    """
    counts = Counter(word for other in others for word in other.words)
    asked = set(_plain(row.question).split())

    def nearness(other: Row) -> tuple[int, str]:
        return sum(len(others) // counts[word] for word in asked & other.words), _order(other.id)

    return max((other for other in others if not _stands_in(row.answer, " ".join(other.sentences))), key=nearness)


# ---------------------------------------------------------------- one prompt


def _prompt(row: Row, told: Row) -> Prompt:
    """The question of `row` about the passage of `told`, which is another row's where there is to be no answer."""
    answerable = row is told
    passage = "\n".join(f"[{number}] {text}" for number, text in enumerate(told.sentences, 1))
    target = {
        "answers": [row.answer] if answerable else [],
        "sentences": list(told.sentences),
        "support": row.support if answerable else [],
    }
    cited = ", ".join(map(str, row.support))
    return Prompt(
        id=row.id if answerable else f"{row.id}-of-{told.id}",
        messages=({"role": "user", "content": f"{INSTRUCTION}\n\n{passage}\n\nQuestion: {row.question}"},),
        target=json.dumps(target, ensure_ascii=False),
        reference=f"{row.answer} [{cited}]" if answerable else ABSENT,
        cluster=told.id,
        metadata={"category": "answerable" if answerable else "unanswerable"},
    )


def _stands_in(phrase: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE) is not None


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _order(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
