"""What training data is made of, in one pass."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness import chat
from harness.data.reading import BadRow
from harness.data.record import Answer, Record
from harness.data.tallies import Distinct, Lengths, Sample, Spread, Top
from harness.errors import HarnessError
from harness.statistics import Interval, share_interval
from harness.types import canonical_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHOWN = 10
"""Of names, the most frequent."""
SAMPLE = 1_000
"""Texts whose language is told."""
MIN_LETTERS = 20
"""Of a text whose language is told."""


@dataclass(frozen=True)
class PairStats:
    """`chosen_longer`: the share of pairs whose chosen answer has more characters, half of it where both have as many,
    with its 95% interval, clustered by prompt. A policy that learns to write more gains as much of the reward as this
    is above one half."""

    chosen_longer: Interval
    equal: int
    """Pairs whose answers are the same."""


@dataclass(frozen=True)
class GroupStats:
    """`signal`: the share of groups of which two answers differ in their reward. `unscored`: answers without one."""

    groups: int
    answers: Spread
    reward: float | None
    signal: float
    unscored: int


@dataclass(frozen=True)
class Stats:
    """Of a file or a run. Shares are None where there is nothing to take a share of."""

    rows: int
    bad: dict[str, int]
    """Rows that could not be read, by reason."""
    kinds: dict[str, int]
    roles: dict[str, int]
    turns: Spread | None
    """Messages before the answer."""
    lengths: dict[str, Spread]
    """By `prompt/characters`, `answer/words` and so on. Characters and words are of all messages but the system's;
    tokens are of what a model reads, tools and all, and of what it is to write, with the token that ends it."""
    unrendered: int
    """Prompts that the model's chat template refuses, which have no number of tokens."""
    languages: dict[str, dict[str, int]]
    """Of a sample of prompts and one of answers, by code; `json` is what parses as that, and `short` what has too few
    letters to tell."""
    tools: int
    """Records with tools."""
    distinct_tools: int
    labels: dict[str, int]
    """Answers of labelled records by `good` and `bad`."""
    duplicates: float | None
    """The share of records whose prompt, tools and answers have all been there before."""
    repeated_prompts: float | None
    sources: dict[str, int]
    clusters: dict[str, int]
    pairs: PairStats | None
    groups: GroupStats | None


@dataclass
class _Pairs:
    longer: list[float] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    equal: int = 0

    def add(self, chosen: str, rejected: str, prompt: bytes) -> None:
        self.longer.append(0.5 if len(chosen) == len(rejected) else float(len(chosen) > len(rejected)))
        self.prompts.append(prompt.hex())
        self.equal += chosen == rejected

    def stats(self) -> PairStats | None:
        if not self.longer:
            return None
        return PairStats(share_interval(self.longer, self.prompts, alpha=0.025), self.equal)


@dataclass
class _Groups:
    answers: Lengths = field(default_factory=Lengths)
    total: float = 0.0
    scored: int = 0
    unscored: int = 0
    signal: int = 0

    def add(self, answers: tuple[Answer, ...]) -> None:
        rewards = [answer.worth for answer in answers if answer.worth is not None]
        self.answers.add(len(answers))
        self.total += sum(rewards)
        self.scored += len(rewards)
        self.unscored += len(answers) - len(rewards)
        self.signal += len(set(rewards)) > 1

    def stats(self) -> GroupStats | None:
        answers = self.answers.spread()
        if answers is None:
            return None
        reward = self.total / self.scored if self.scored else None
        return GroupStats(answers.n, answers, reward, self.signal / answers.n, self.unscored)


class Tally:
    """Counts what it is given, in some 150 bytes a record."""

    def __init__(self, *, tokenizer: PreTrainedTokenizerBase | None = None, seed: int = 0) -> None:
        self.tokenizer = tokenizer
        self.rows = self.tools = self.unrendered = 0
        self.bad, self.kinds, self.labels = Counter[str](), Counter[str](), Counter[str]()
        self.turns = Lengths()
        self.lengths: dict[str, Lengths] = {}
        self.samples = {"prompt": Sample[str](SAMPLE, seed), "answer": Sample[str](SAMPLE, seed)}
        self.distinct_tools: set[str] = set()
        self.records, self.prompts = Distinct(), Distinct()
        self.roles, self.sources, self.clusters = Top(), Top(), Top()
        self.pairs, self.groups = _Pairs(), _Groups()

    def add(self, item: Record | BadRow) -> None:
        self.rows += 1
        if isinstance(item, BadRow):
            self.bad[item.reason] += 1
            return
        prompt = item.prompt
        self.kinds[item.kind] += 1
        self.sources.add(_source(item))
        if prompt.cluster:
            self.clusters.add(prompt.cluster)
        if prompt.tools:
            self.tools += 1
            self.distinct_tools.update(str(tool.get("name")) for tool in json.loads(prompt.tools))
        asked = canonical_json([list(map(dict, prompt.messages)), prompt.tools]).encode()
        key = hashlib.blake2b(asked, digest_size=8).digest()
        if prompt.messages:
            self._prompt(item, key)
        self._answers(item, key)

    def _prompt(self, record: Record, key: bytes) -> None:
        self.turns.add(len(record.prompt.messages))
        for message in record.prompt.messages:
            self.roles.add(str(message.get("role")))
        self.prompts.add(key)
        self._text("prompt", record.asked)
        if self.tokenizer:
            try:
                self._add("prompt/tokens", len(chat.render(self.tokenizer, record.prompt)))
            except HarnessError:
                self.unrendered += 1

    def _answers(self, record: Record, key: bytes) -> None:
        texts = [answer.text for answer in record.answers]
        self.records.add(hashlib.blake2b(key + canonical_json(texts).encode(), digest_size=8).digest())
        for text in texts:
            self._text("answer", text)
            if self.tokenizer:
                encode = chat.encode_document if record.kind == "text" else chat.encode_completion
                self._add("answer/tokens", len(encode(self.tokenizer, text)))
        if record.kind == "pair":
            self.pairs.add(texts[0], texts[1], key)
        elif record.kind == "group":
            self.groups.add(record.answers)
        elif record.kind == "label":
            self.labels["good" if record.answers[0].worth == 1.0 else "bad"] += 1

    def _text(self, side: str, text: str) -> None:
        self.samples[side].add(text)
        self._add(f"{side}/characters", len(text))
        self._add(f"{side}/words", len(text.split()))

    def _add(self, name: str, value: int) -> None:
        self.lengths.setdefault(name, Lengths()).add(value)

    def stats(self) -> Stats:
        spreads = {name: lengths.spread() for name, lengths in sorted(self.lengths.items(), reverse=True)}
        return Stats(
            rows=self.rows,
            bad=dict(self.bad.most_common()),
            kinds=dict(self.kinds.most_common()),
            roles=self.roles.most(SHOWN),
            turns=self.turns.spread(),
            lengths={name: spread for name, spread in spreads.items() if spread is not None},
            unrendered=self.unrendered,
            languages={side: languages(sample.items) for side, sample in self.samples.items() if sample.items},
            tools=self.tools,
            distinct_tools=len(self.distinct_tools),
            labels=dict(self.labels.most_common()),
            duplicates=self.records.repeated(),
            repeated_prompts=self.prompts.repeated(),
            sources=self.sources.most(SHOWN),
            clusters=self.clusters.most(SHOWN),
            pairs=self.pairs.stats(),
            groups=self.groups.stats(),
        )


def _source(record: Record) -> str:
    """Where the record was first read, as rows that were cleaned remember it."""
    origin = record.extra.get("origin")
    return str(origin["source"]) if isinstance(origin, Mapping) and "source" in origin else record.source


def languages(texts: Iterable[str]) -> dict[str, int]:
    """How many texts are in which language, as py3langid guesses (Lui and Baldwin 2012, ACL P12-3005)."""
    return dict(Counter(map(_language, texts)).most_common(SHOWN))


def _language(text: str) -> str:
    from py3langid.langid import classify

    if text.lstrip().startswith(("[", "{")) and _is_json(text):
        return "json"
    return str(classify(text)[0]) if sum(map(str.isalpha, text)) >= MIN_LETTERS else "short"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
