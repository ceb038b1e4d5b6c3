"""Rows in which the completions of a group share one copy of their prompt. Plain data: no torch.

A row is `[prompt][c1]..[cG]`, several groups a row where the budget allows. Positions restart after the prompt and
completions do not see each other, so each is computed as if it stood alone. With a prompt of P tokens and G completions
of C tokens, a group costs about P + GC tokens instead of G(P + C).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TypeVar

from harness.errors import HarnessError
from harness.protocols import StepTotals

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TrainingCompletion:
    """Token ids to train on, and what the objective needs to know of them: log-probs are one a token."""

    token_ids: tuple[int, ...]
    advantage: float | None = None
    old_logps: tuple[float, ...] | None = None
    ref_logps: tuple[float, ...] | None = None
    desirable: bool | None = None


@dataclass(frozen=True, slots=True)
class TrainingGroup:
    """Completions of one prompt. Neither the prompt nor a completion is empty.

    `pairs` are indices (chosen, rejected) into `completions`; a group with pairs is trained on for their sake alone.
    """

    prompt_token_ids: tuple[int, ...]
    completions: tuple[TrainingCompletion, ...]
    pairs: tuple[tuple[int, int], ...] = ()
    mismatched: tuple[TrainingCompletion, ...] = ()
    """Completions of another prompt, to be computed under this one."""
    origin: str = ""
    """What the group is a part of, where that is not its prompt: blocks of one document are not independent."""

    def __post_init__(self) -> None:
        if not self.prompt_token_ids:
            raise HarnessError("a prompt has no tokens, so nothing predicts its completion's first token")
        if not all(completion.token_ids for completion in self.completions):
            raise HarnessError("a completion has no tokens", remedy="Leave it out of the training groups.")

    @property
    def packed_tokens(self) -> int:
        """Tokens that the model computes. A completion's last token is only predicted, never read."""
        return len(self.prompt_token_ids) + sum(len(completion.token_ids) - 1 for completion in self.completions)

    def only(self, pairs: Sequence[tuple[int, int]]) -> TrainingGroup:
        """The group with these of its pairs, and the completions that are in them."""
        kept = sorted({index for pair in pairs for index in pair})
        place = {index: i for i, index in enumerate(kept)}
        return TrainingGroup(
            self.prompt_token_ids,
            tuple(self.completions[index] for index in kept),
            tuple((place[chosen], place[rejected]) for chosen, rejected in pairs),
        )


@dataclass(frozen=True, slots=True)
class Row:
    """Groups that go through the model together, as one sequence."""

    groups: tuple[TrainingGroup, ...]

    @property
    def completions(self) -> tuple[TrainingCompletion, ...]:
        return tuple(completion for group in self.groups for completion in group.completions)

    @property
    def packed_tokens(self) -> int:
        return sum(group.packed_tokens for group in self.groups)


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One optimizer step: its rows, and the sizes that its loss is divided by."""

    rows: tuple[Row, ...]
    totals: StepTotals
    mismatched: tuple[Row, ...] = ()
    """Completions under prompts of others, from which some objectives estimate a KL divergence; not trained on."""


def pack(groups: Iterable[TrainingGroup], *, max_tokens: int) -> tuple[Row, ...]:
    """Rows of at most `max_tokens` tokens, by first fit in order of falling size. Nothing is cut off.

    A group over the budget is split over several rows, each with a copy of the prompt; a completion that is over the
    budget by itself gets a row of its own. So `max_tokens=0` is the plain form, one sequence (or one pair) a row.
    """
    pieces = [piece for group in groups for piece in split(group, max_tokens)]
    rows: list[list[TrainingGroup]] = []
    free: list[int] = []
    for piece in sorted(pieces, key=lambda piece: -piece.packed_tokens):
        size = piece.packed_tokens
        place = next((i for i, room in enumerate(free) if size <= room), None)
        if place is None:
            rows.append([piece])
            free.append(max_tokens - size)
        else:
            rows[place].append(piece)
            free[place] -= size
    return tuple(Row(tuple(row)) for row in rows)


def split(group: TrainingGroup, max_tokens: int) -> Iterator[TrainingGroup]:
    """The group in parts of at most `max_tokens` tokens where that can be, its completions in order.

    The two sides of a pair stay together, so a completion that is in several pairs can be in several parts.
    """
    if group.pairs:
        yield from _split_pairs(group, max_tokens)
        return
    part: list[TrainingCompletion] = []
    size = len(group.prompt_token_ids)
    for completion in group.completions:
        cost = len(completion.token_ids) - 1
        if part and size + cost > max_tokens:
            yield replace(group, completions=tuple(part))
            part, size = [], len(group.prompt_token_ids)
        part.append(completion)
        size += cost
    if part:
        yield replace(group, completions=tuple(part))


def _split_pairs(group: TrainingGroup, max_tokens: int) -> Iterator[TrainingGroup]:
    part: list[tuple[int, int]] = []
    for pair in group.pairs:
        if part and group.only([*part, pair]).packed_tokens > max_tokens:
            yield group.only(part)
            part = []
        part.append(pair)
    yield group.only(part)


def shuffled_batches(items: Sequence[T], size: int, random_order: random.Random) -> Iterator[list[T]]:
    """One pass over the items in a random order, `size` at a time."""
    order = random_order.sample(items, len(items))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def hold_out(groups: Sequence[TrainingGroup], share: float) -> tuple[list[TrainingGroup], list[TrainingGroup]]:
    """(training, held out): `share` of the prompts or documents, at least one, by a digest of each. Whatever else is
    trained on, one falls on the same side of most splits, and its groups never part."""
    keys = [group.origin or repr(group.prompt_token_ids) for group in groups]
    distinct = sorted(set(keys), key=lambda key: sha256(key.encode()).digest())
    held = set(distinct[: max(1, round(share * len(distinct)))])
    return (
        [group for group, key in zip(groups, keys, strict=True) if key not in held],
        [group for group, key in zip(groups, keys, strict=True) if key in held],
    )


def within(groups: Iterable[TrainingGroup], limit: int) -> tuple[list[TrainingGroup], int]:
    """The groups without the completions that do not fit into `limit` tokens with their prompt, and how many do not."""
    kept, too_long = [], 0
    for group in groups:
        room = limit + 1 - len(group.prompt_token_ids)  # a completion's last token is only predicted
        fits = [len(completion.token_ids) <= room for completion in group.completions]
        too_long += fits.count(False)
        if all(fits):
            kept.append(group)
        elif group.pairs:
            pairs = [(chosen, rejected) for chosen, rejected in group.pairs if fits[chosen] and fits[rejected]]
            kept += [group.only(pairs)] if pairs else []
        elif any(fits):
            rest = tuple(c for c, good in zip(group.completions, fits, strict=True) if good)
            kept.append(replace(group, completions=rest))
    return kept, too_long


def make_step(groups: Sequence[TrainingGroup], *, max_completion: int, max_tokens: int) -> TrainingStep:
    """One optimizer step over these groups. `max_completion` is the sampling limit, `max_tokens` a row's budget."""
    completions = [completion for group in groups for completion in group.completions]
    tokens = sum(len(completion.token_ids) for completion in completions)
    totals = StepTotals(
        sequences=len(completions),
        tokens=tokens,
        max_tokens=max_completion,
        pairs=sum(len(group.pairs) for group in groups),
        desirable=sum(completion.desirable is True for completion in completions),
    )
    others = [TrainingGroup(group.prompt_token_ids, group.mismatched) for group in groups if group.mismatched]
    return TrainingStep(pack(groups, max_tokens=max_tokens), totals, pack(others, max_tokens=max_tokens))


@dataclass(frozen=True, slots=True)
class Layout:
    """A row of T tokens as index lists. S = all completion tokens of the row, one completion after the other.

    Token i may attend to token j <= i of the same group when `segment_T[j]` is 0 (the prompt) or equals `segment_T[i]`.
    The output at `scored_S[s]` predicts `target_S[s]`.
    """

    token_ids_T: list[int]
    position_ids_T: list[int]
    group_T: list[int]
    segment_T: list[int]
    scored_S: list[int]
    target_S: list[int]
    lengths_N: list[int]


def lay_out(row: Row) -> Layout:
    layout = Layout([], [], [], [], [], [], [])
    for index, group in enumerate(row.groups):
        prompt = group.prompt_token_ids
        _append(layout, prompt, index, segment=0, position=0)
        last_of_prompt = len(layout.token_ids_T) - 1
        for segment, completion in enumerate(group.completions, start=1):
            start = len(layout.token_ids_T)
            _append(layout, completion.token_ids[:-1], index, segment=segment, position=len(prompt))
            layout.scored_S.append(last_of_prompt)
            layout.scored_S.extend(range(start, len(layout.token_ids_T)))
            layout.target_S.extend(completion.token_ids)
            layout.lengths_N.append(len(completion.token_ids))
    return layout


def _append(layout: Layout, token_ids: Sequence[int], group: int, *, segment: int, position: int) -> None:
    layout.token_ids_T.extend(token_ids)
    layout.position_ids_T.extend(range(position, position + len(token_ids)))
    layout.group_T.extend([group] * len(token_ids))
    layout.segment_T.extend([segment] * len(token_ids))
