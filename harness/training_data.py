"""What is trained on when no loop runs: the groups of a stored run, or rows in the formats that TRL reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, StoreError
from harness.protocols import RunContext
from harness.records import read_groups
from harness.store import RunStore
from harness.types import Prompt, Sampling, ScoredGroup, canonical_json, digest

FORMATS = (
    '{"prompt", "chosen", "rejected"}, {"prompt", "completion"}, {"prompt", "completion", "label"} or {"messages"}'
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a file: a prompt, and completions with what they are worth."""

    prompt: Prompt
    completions: tuple[tuple[str, float], ...]


def run_groups(store: RunStore, rounds: Sequence[int]) -> list[ScoredGroup]:
    """The scored groups of these rounds of a run, all of which it must have; of its last such round for none."""
    known = sorted(index for index, step in store.entries if step == "judge")
    if missing := [index for index in rounds if index not in known]:
        raise StoreError(
            f"round {missing[0]} has no scored groups",
            where=str(store.folder),
            remedy=f"Rounds that have: {', '.join(map(str, known)) or 'none'}.",
        )
    return [group for index in rounds or known[-1:] for group in store.load(index, "judge", read_groups)]


def file_groups(path: Path, context: RunContext) -> list[ScoredGroup]:
    """Groups from a Parquet file of ours or a JSONL file; the latter is tokenized with the context's model.

    Chosen completions and those labelled true have a reward of 1, rejected ones and those labelled false one of 0.
    """
    if path.suffix == ".parquet":
        return read_groups(path)
    rows = list(read_rows(path))
    assert context.components is not None, "the context has no registry"
    demonstrate = context.components.create("generator", "reference", {}, context)
    prompts = [replace(row.prompt, reference=text) for row in rows for text, _ in row.completions]
    made = iter(demonstrate.generate(prompts, n=1, sampling=Sampling(), seed=0))
    groups = []
    for row in rows:
        alone = [next(made) for _ in row.completions]
        group = replace(alone[0], prompt=row.prompt, completions=tuple(one.completions[0] for one in alone))
        rewards = tuple(reward for _, reward in row.completions)
        groups.append(ScoredGroup(group, tuple(() for _ in rewards), rewards))
    return groups


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a JSONL file. Raises ConfigError naming the line and field of the first that is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=str(path), remedy="Name a JSONL file.") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _row(line, where=f"{path}:{number}")


def _row(line: str, *, where: str) -> Row:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"not JSON: {error.msg} at character {error.pos}", where=where, remedy="Correct it."
        ) from None
    if not isinstance(values, dict):
        raise ConfigError("not a JSON object", where=where, remedy=f"Write one of {FORMATS}.")
    if "messages" in values:
        messages = _messages(values["messages"], "messages", where)
        if len(messages) < 2 or messages[-1]["role"] != "assistant":
            raise ConfigError(
                "messages does not end with an answer of the assistant's",
                where=where,
                remedy="Add what is to be learnt.",
            )
        return Row(_prompt(messages[:-1], values), ((messages[-1]["content"], 1.0),))
    prompt = _messages(_field(values, "prompt", where), "prompt", where)
    if "chosen" in values or "rejected" in values:
        sides = [_answer(_field(values, side, where), side, where) for side in ("chosen", "rejected")]
        if sides[0] == sides[1]:
            raise ConfigError(f"chosen and rejected are equal: {sides[0][:60]!r}", where=where, remedy="Drop the row.")
        return Row(_prompt(prompt, values), ((sides[0], 1.0), (sides[1], 0.0)))
    answer = _answer(_field(values, "completion", where), "completion", where)
    label = values.get("label", True)
    if not isinstance(label, bool):
        raise ConfigError(f"label = {label!r} is not true or false", where=where, remedy="Write one of the two.")
    return Row(_prompt(prompt, values), ((answer, float(label)),))


def _field(values: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in values:
        raise ConfigError(f"{name} is missing", where=where, remedy=f"Write one of {FORMATS}.")
    return values[name]


def _messages(value: Any, name: str, where: str) -> tuple[dict[str, str], ...]:
    if isinstance(value, str):
        return ({"role": "user", "content": value},)
    good = isinstance(value, list) and all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in value
    )
    if not good or not value:
        raise ConfigError(
            f"{name} is neither text nor a list of messages", where=where, remedy='Use [{"role": ..., "content": ...}].'
        )
    return tuple({"role": m["role"], "content": m["content"]} for m in value)


def _answer(value: Any, name: str, where: str) -> str:
    messages = _messages(value, name, where)
    if len(messages) != 1:
        raise ConfigError(
            f"{name} holds {len(messages)} messages, not one", where=where, remedy="Put the rest in prompt."
        )
    if not messages[0]["content"]:
        raise ConfigError(f"{name} is empty", where=where, remedy="Drop the row.")
    return messages[0]["content"]


def _prompt(messages: Sequence[Mapping[str, str]], values: Mapping[str, Any]) -> Prompt:
    tools = values.get("tools") or ""
    return Prompt(
        id=str(values.get("id") or digest([list(messages), tools])[:16]),
        messages=tuple(messages),
        tools=tools if isinstance(tools, str) else canonical_json(tools),
    )
