"""Preference data from groups whose answers are scored, or from answers that are labelled good or bad.

ScoredGroup, labelled records -> Candidates(margins of every two answers) -> Pair -> Record
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from harness.data.record import Answer, Record
from harness.data.row_files import origin_of
from harness.errors import ConfigError
from harness.pairs import Margins, choose_pairs, judged_margins, reward_margins
from harness.specs import Config
from harness.types import Prompt, ScoredGroup


class PairingConfig(Config):
    """Which pairs are made of a prompt's answers."""

    margins: Literal["rewards", "comparisons"] = "rewards"
    """By how much one answer is better: the difference of their rewards, or the mean of judges that compare."""
    judge: str = ""
    """Its scores instead of the rewards, or its comparisons alone."""
    min_margin: float = Field(default=0.0, ge=0, le=1)
    best_only: bool = False
    """Of each group the pair with the widest margin."""
    per_prompt: int | None = Field(default=None, ge=1)
    """Of each prompt, over all groups, so many pairs with the widest margins."""
    balance_length: bool = False
    """Pairs are dropped until the chosen answer is the longer one as often as the rejected."""


@dataclass(frozen=True)
class Candidates:
    """Answers to one prompt, and by how much which of them are better than which. Those in `cut` never are chosen."""

    prompt: Prompt
    texts: Sequence[str]
    margins: Margins
    cut: frozenset[int]
    origin: Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """A chosen and a rejected answer to a prompt."""

    prompt: Prompt
    chosen: str
    rejected: str
    margin: float
    origin: Mapping[str, Any]

    @property
    def lengthening(self) -> int:
        """Characters that the chosen answer is longer by."""
        return len(self.chosen) - len(self.rejected)

    @property
    def record(self) -> Record:
        answers = (Answer(self.chosen), Answer(self.rejected, 0.0))
        return Record(self.prompt, answers, "pair", extra={"margin": self.margin, "origin": dict(self.origin)})


@dataclass(frozen=True)
class LengthBias:
    """How often the chosen answer is the longer one, of pairs whose answers differ in length (characters)."""

    pairs: int
    longer: int
    shorter: int

    @property
    def chosen_longer(self) -> float | None:
        """None where no pair differs."""
        differing = self.longer + self.shorter
        return self.longer / differing if differing else None


def of_group(scored: ScoredGroup, config: PairingConfig, origin: Mapping[str, Any]) -> Candidates:
    """A group's answers by rewards, one judge's scores, or comparisons. One that was cut off at the token limit is
    never chosen: to learn it would be to learn not to end. Raises ConfigError for a judge that did not judge it."""
    group = scored.group
    if config.margins == "comparisons":
        said = [p for p in scored.preferences if not config.judge or p.judge == config.judge]
        margins = judged_margins(said)
    else:
        margins = reward_margins(_values(scored, config.judge))
    texts = [completion.text for completion in group.completions]
    written = {pair: margin for pair, margin in margins.items() if all(texts[i] for i in pair)}
    cut = frozenset(i for i, completion in enumerate(group.completions) if completion.finish_reason == "length")
    return Candidates(group.prompt, texts, written, cut, {**origin, "judge": config.judge} if config.judge else origin)


def of_labels(records: Iterable[Record]) -> list[Candidates]:
    """Labelled answers by prompt, those with the same tools and messages: each good one is better than each bad one by
    1. Raises ConfigError for a record that is no labelled answer."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.kind != "label":
            raise ConfigError(
                f"it is a {record.kind}, not an answer with a label", where=record.where, remedy="Leave it out."
            )
        found.setdefault(record.prompt.question, []).append(record)
    return [
        Candidates(
            members[0].prompt,
            [member.answers[0].text for member in members],
            reward_margins([member.answers[0].worth for member in members]),
            frozenset(),
            origin_of(members[0]),
        )
        for members in found.values()
    ]


def make_pairs(candidates: Iterable[Candidates], config: PairingConfig) -> list[Pair]:
    """The pairs in the order of their groups, by falling margin. Answers that read the same are no pair."""
    found: list[Pair] = []
    for one in candidates:
        chosen = choose_pairs(
            one.margins, one.texts, best_only=config.best_only, min_margin=config.min_margin, never_chosen=one.cut
        )
        found += [
            Pair(one.prompt, one.texts[better], one.texts[worse], one.margins[better, worse], one.origin)
            for better, worse in chosen
        ]
    return found if config.per_prompt is None else widest(found, config.per_prompt)


def widest(pairs: Sequence[Pair], number: int) -> list[Pair]:
    """Of each prompt so many pairs with the widest margins, the first of equals; in the order that they had."""
    by_prompt: dict[str, list[int]] = {}
    for index, pair in enumerate(pairs):
        by_prompt.setdefault(pair.prompt.question, []).append(index)
    kept = {
        index
        for members in by_prompt.values()
        for index in sorted(members, key=lambda index: (-pairs[index].margin, index))[:number]
    }
    return [pair for index, pair in enumerate(pairs) if index in kept]


def length_bias(pairs: Sequence[Pair]) -> LengthBias:
    longer = sum(pair.lengthening > 0 for pair in pairs)
    return LengthBias(len(pairs), longer, sum(pair.lengthening < 0 for pair in pairs))


def balanced(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs without those of the narrowest margins that make one direction of length more frequent than the other.

    Of equal margins a hash of the answers decides. Pairs of equal length stay.
    """
    bias = length_bias(pairs)
    sign = 1 if bias.longer > bias.shorter else -1
    surplus = [index for index, pair in enumerate(pairs) if pair.lengthening * sign > 0]
    surplus.sort(key=lambda index: (pairs[index].margin, _hash(pairs[index])))
    dropped = set(surplus[: abs(bias.longer - bias.shorter)])
    return [pair for index, pair in enumerate(pairs) if index not in dropped]


def _values(scored: ScoredGroup, judge: str) -> list[float | None]:
    if not judge:
        return list(scored.rewards)
    by_name = [{score.judge: score.value for score in scores} for scores in scored.scores]
    if not all(judge in values for values in by_name):
        known = sorted({name for values in by_name for name in values})
        raise ConfigError(
            f"judge {judge!r} did not judge prompt {scored.group.prompt.id}",
            where="--judge",
            remedy=f"Judges that did: {', '.join(known) or 'none'}.",
        )
    return [values[judge] for values in by_name]


def _hash(pair: Pair) -> str:
    return hashlib.sha256(f"{pair.chosen}\0{pair.rejected}".encode()).hexdigest()
