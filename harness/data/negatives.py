"""Wrong tool calls beside right ones, with known labels: made by mutation, and kept only if a judge calls them wrong.

prompt, right calls -> one mutant a kind -> the judge's verdicts -> pairs, or labelled answers
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

from pydantic import Field, field_validator

from harness.data.mutations import KINDS, mutate_calls, writer_of
from harness.data.record import Answer, Record
from harness.data.row_files import origin_of
from harness.data.splitting import hashed
from harness.errors import did_you_mean
from harness.judging import Bench
from harness.pairs import TIE
from harness.specs import Config
from harness.tools import ToolCall, parse_calls
from harness.types import Completion, Group, Prompt, Sampling

BATCH = 64
"""Prompts that are judged at once."""


class NegativesConfig(Config):
    """Which wrong calls are made."""

    kinds: tuple[str, ...] = Field(default=KINDS, min_length=1, description=", ".join(KINDS))
    per_prompt: int = Field(default=1, ge=1, description="wrong answers a prompt, of different kinds")
    form: Literal["pairs", "labels"] = "pairs"
    seed: int = 0

    @field_validator("kinds")
    @classmethod
    def _are_known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"there is no kind {kind!r}. {did_you_mean(kind, list(KINDS))}")
        return tuple(dict.fromkeys(kinds))


@dataclass
class Tally:
    """What became of the prompts and of the mutants, by kind."""

    prompts: int = 0
    used: int = 0
    """Prompts with a wrong answer that was written."""
    unreadable: int = 0
    """Prompts without a right answer in tool calls, or in a syntax that is read but not written."""
    refused: int = 0
    """Prompts whose right answer the judge calls wrong, or that calls what its tools do not have."""
    repeated: int = 0
    """Prompts that came before with the same right answer."""
    written: dict[str, int] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)
    """Mutants that the judge accepts: an optional argument left out, an order that does not matter."""


@dataclass(frozen=True)
class Right:
    """A right answer: its calls, how they are written, and the prompt with the target that mutants are held to."""

    record: Record
    prompt: Prompt
    calls: list[ToolCall]
    text: str


def negatives(records: Iterable[Record], bench: Bench, config: NegativesConfig, tally: Tally) -> Iterator[Record]:
    """Records with wrong answers beside the right ones that these hold, in their order; `tally` is filled in.

    Which kinds a prompt gets follows from the seed and the prompt: what is added changes no other's.
    """
    rights = _fresh((right for record in records if (right := _right(record, tally)) is not None), tally)
    while batch := list(islice(rights, BATCH)):
        mutants = [_mutants(right, config) for right in batch]
        groups = [_group(right, [right.text, *made.values()]) for right, made in zip(batch, mutants, strict=True)]
        for right, made, scored in zip(batch, mutants, bench.score(groups), strict=True):
            gold, *rewards = scored.rewards
            if gold is None or gold < 1 - TIE:
                tally.refused += 1
                continue
            verdicts = dict(zip(made, rewards, strict=True))
            wrong = [kind for kind, reward in verdicts.items() if reward is not None and reward < 1 - TIE]
            _count(
                tally.accepted, [kind for kind, value in verdicts.items() if value is not None and kind not in wrong]
            )
            chosen = wrong[: config.per_prompt]
            _count(tally.written, chosen)
            tally.used += bool(chosen)
            yield from _rows(right, {kind: made[kind] for kind in chosen}, config.form)


def of_suite(train: Sequence[Prompt], name: str) -> list[Record]:
    """A suite's training prompts with their reference answers. Those that it holds out are never trained on."""
    return [
        Record(
            prompt, (Answer(prompt.reference),) if prompt.reference is not None else (), "demonstration", name, place
        )
        for place, prompt in enumerate(train, start=1)
    ]


def target_of(calls: Sequence[ToolCall], tools: str) -> str | None:
    """The target that these calls and no others satisfy, as judge `tool_call` reads it; None where the calls do not
    go with the tools: a tool or an argument that is not there, or a required one that is missing."""
    known = {tool["name"]: tool.get("parameters") or {} for tool in json.loads(tools)}
    due = []
    for call in calls:
        if call.name not in known:
            return None
        schema = known[call.name]
        if set(call.arguments) - set(schema.get("properties", {})) or set(schema.get("required", ())) - set(
            call.arguments
        ):
            return None
        due.append({"name": call.name, "arguments": {name: [_only(v)] for name, v in call.arguments.items()}})
    return json.dumps({"calls": due}, ensure_ascii=False)


def _only(value: Any) -> Any:
    """A value as the only acceptable one: in targets the members of an object hold lists of those."""
    if isinstance(value, Mapping):
        return {name: [_only(member)] for name, member in value.items()}
    return [_only(item) for item in value] if isinstance(value, list) else value


def _right(record: Record, tally: Tally) -> Right | None:
    tally.prompts += 1
    good = [answer.text for answer in record.answers if answer.worth == 1.0]
    write = writer_of(good[0]) if good and record.prompt.tools else None
    if write is None:
        tally.unreadable += 1
        return None
    try:
        calls = parse_calls(good[0])
    except ValueError:
        tally.unreadable += 1
        return None
    target = record.prompt.target or target_of(calls, record.prompt.tools)
    if target is None:
        tally.refused += 1
        return None
    return Right(record, replace(record.prompt, target=target), calls, write(calls))


def _fresh(rights: Iterable[Right], tally: Tally) -> Iterator[Right]:
    """Each prompt with a right answer once: its mutants would be the same again."""
    seen: set[int] = set()
    for right in rights:
        name = hashed(right.prompt.question, right.text)
        tally.repeated += name in seen
        if name not in seen:
            seen.add(name)
            yield right


def _count(counts: dict[str, int], kinds: Sequence[str]) -> None:
    for kind in kinds:
        counts[kind] = counts.get(kind, 0) + 1


def _mutants(right: Right, config: NegativesConfig) -> dict[str, str]:
    """One mutant of each kind that the calls allow, in a random order of the prompt's own."""
    rng = random.Random(f"{config.seed} {right.prompt.question}")
    write = writer_of(right.text)
    assert write is not None
    made = {}
    for kind in rng.sample(config.kinds, len(config.kinds)):
        wrong = mutate_calls(right.calls, right.prompt.tools, kind, rng, write)
        if wrong is not None and wrong != right.text:
            made[kind] = wrong
    return made


def _group(right: Right, texts: Sequence[str]) -> Group:
    return Group(right.prompt, (), tuple(Completion(text, ()) for text in texts), "reference", Sampling())


def _rows(right: Right, wrong: Mapping[str, str], form: str) -> Iterator[Record]:
    extra = {**right.record.extra, "origin": origin_of(right.record)}
    if form == "pairs":
        for kind, text in wrong.items():
            answers = (Answer(right.text), Answer(text, 0.0))
            yield replace(right.record, answers=answers, kind="pair", extra={**extra, "mutation": kind})
    elif wrong:
        yield replace(right.record, answers=(Answer(right.text),), kind="label", extra=extra)
        for kind, text in wrong.items():
            yield replace(right.record, answers=(Answer(text, 0.0),), kind="label", extra={**extra, "mutation": kind})
