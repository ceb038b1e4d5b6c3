"""What is trained on when no loop runs: the groups of a stored run, or rows in the formats that TRL reads."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.data.layouts import FOREIGN, layout_of
from harness.data.messages import read_tools
from harness.data.rows import RowError
from harness.errors import ConfigError, StoreError, did_you_mean
from harness.jsonl import read_jsonl, read_text
from harness.protocols import RunContext
from harness.records import read_groups
from harness.store import RunStore
from harness.types import Prompt, Sampling, ScoredGroup, canonical_json, digest

FORMATS = (
    '{"prompt", "chosen", "rejected"}, {"prompt", "completion"}, {"prompt", "completion", "label"}, {"messages"} '
    'or {"text"}'
)


KEYS = {"id", "tools", "prompt", "chosen", "rejected", "completion", "label", "messages", "text", "origin", "extra"}
"""Others are refused: a misspelt `label` would turn a bad answer into a good one. `origin` says where a cleaned row is
from, `extra` holds what its file said besides; neither is learnt."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a file: a prompt, and completions with what they are worth."""

    prompt: Prompt
    completions: tuple[tuple[str, float], ...]


def judged_rounds(store: RunStore, rounds: Sequence[int]) -> list[int]:
    """These rounds of a run, all of which must have scored groups; its last such round for none."""
    known = sorted(index for index, step in store.entries if step == "judge")
    missing = [index for index in rounds if index not in known]
    if missing or not known:
        raise StoreError(
            f"round {missing[0]} has no scored groups" if missing else "no round has scored groups",
            where=str(store.folder),
            remedy=f"Rounds that have: {', '.join(map(str, known)) or 'none'}.",
        )
    return sorted(set(rounds)) or known[-1:]


def require_token_ids(groups: Sequence[ScoredGroup], *, where: str) -> None:
    """Raises ConfigError for a group without the token ids that its policy read and wrote, as servers sample them."""
    for group in (scored.group for scored in groups):
        if not group.prompt_token_ids or any(c.text and not c.token_ids for c in group.completions):
            raise ConfigError(
                f"what generator {group.generator or 'unknown'} sampled for prompt {group.prompt.id} has no token ids, "
                "and training is by token",
                where=where,
                remedy="Sample with a generator that holds the weights, such as vllm or transformers.",
            )


def file_digest(path: Path) -> str:
    """sha256 (hex) of a file. Raises ConfigError if it cannot be read."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})", where=str(path), remedy="Name a JSONL or Parquet file."
        ) from None


def file_prompts(path: Path, context: RunContext) -> list[Prompt]:
    """The prompts of a file's rows, which are checked but not tokenized. Raises ConfigError for one that is wrong."""
    if path.suffix == ".parquet":
        groups = (scored.group for scored in file_groups(path, context))
        read = [(group.prompt, [c.text for c in group.completions]) for group in groups]
    else:
        read = [(row.prompt, [text for text, _ in row.completions]) for row in read_rows(path)]
    return [prompt for given, texts in read for prompt in _asked(given, texts)]


def _asked(prompt: Prompt, texts: Sequence[str]) -> list[Prompt]:
    """The prompt; before raw text, one for each text that is read, since the text is all that there is to compare."""
    return [prompt] if prompt.messages else [replace(prompt, reference=text) for text in texts]


def file_groups(path: Path, context: RunContext) -> list[ScoredGroup]:
    """Groups from a Parquet file of ours or a JSONL file; the latter is tokenized with the context's model.

    Chosen completions and those labelled true have a reward of 1, rejected ones and those labelled false one of 0.
    """
    if path.suffix == ".parquet":
        return _stored_groups(path)
    rows = list(read_rows(path))
    if not rows:
        raise ConfigError("it holds no row", where=str(path), remedy=f"Write rows such as {FORMATS}.")
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


def _stored_groups(path: Path) -> list[ScoredGroup]:
    remedy = "Name a groups.parquet of a run, or a JSONL file."
    try:
        groups = read_groups(path)
    except (OSError, KeyError, TypeError, ValueError) as error:  # pyarrow's own errors are among these
        raise ConfigError(
            f"these are no stored groups ({type(error).__name__}: {error})", where=str(path), remedy=remedy
        ) from None
    for group in groups:
        if not all(reward is None or math.isfinite(reward) for reward in group.rewards):
            raise ConfigError(
                f"a reward of prompt {group.group.prompt.id} is no number", where=str(path), remedy=remedy
            )
    return groups


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a JSONL file, or a .txt file as one document.

    Raises ConfigError naming the line and field of the first that is wrong.
    """
    if path.suffix == ".txt":
        yield _document({"text": read_text(path)}, str(path))
        return
    for where, values in read_jsonl(path):
        yield _row(values, where=where)


def _row(values: dict[str, Any], *, where: str) -> Row:
    if unknown := sorted(set(values) - KEYS):
        remedy = _convert(values) or did_you_mean(unknown[0], sorted(KEYS))
        raise ConfigError(f"unknown key {unknown[0]!r}", where=where, remedy=remedy)
    if "text" in values:
        return _document(values, where)
    if "messages" in values:
        _only({"messages"}, values, where)
        *before, answer = _messages(values["messages"], "messages", where)
        if not before:
            raise ConfigError("messages holds no prompt", where=where, remedy="Add what is answered.")
        return Row(_prompt(before, values, where), ((_answer([answer], "messages", where), 1.0),))
    prompt = _messages(_field(values, "prompt", where), "prompt", where)
    if "chosen" in values or "rejected" in values:
        _only({"prompt", "chosen", "rejected"}, values, where)
        sides = [_answer(_field(values, side, where), side, where) for side in ("chosen", "rejected")]
        if sides[0] == sides[1]:
            raise ConfigError(f"chosen and rejected are equal: {sides[0][:60]!r}", where=where, remedy="Drop the row.")
        return Row(_prompt(prompt, values, where), ((sides[0], 1.0), (sides[1], 0.0)))
    answer_text = _answer(_field(values, "completion", where), "completion", where)
    label = values.get("label", True)
    if not isinstance(label, bool):
        raise ConfigError(f"label = {label!r} is not true or false", where=where, remedy="Write one of the two.")
    return Row(_prompt(prompt, values, where), ((answer_text, float(label)),))


def _convert(values: Mapping[str, Any]) -> str:
    """What to do with a row of a layout that is known, but not to training; "" for any other."""
    layout = layout_of(values)
    return f"`harness data export` converts rows of layout {layout}." if layout in FOREIGN else ""


def _only(keys: Collection[str], values: Mapping[str, Any], where: str) -> None:
    """A key that is read by nothing would mean something else to whoever wrote it."""
    if extra := sorted(set(values) - {*keys, "id", "tools", "origin", "extra"}):
        raise ConfigError(f"{extra[0]!r} does not go with {sorted(keys)[-1]}", where=where, remedy="Write two rows.")


def _document(values: Mapping[str, Any], where: str) -> Row:
    """Raw text: a completion of nothing."""
    if extra := sorted(set(values) - {"text", "id", "origin", "extra"}):
        raise ConfigError(f"{extra[0]!r} does not go with text", where=where, remedy="Raw text has no prompt.")
    text = values["text"]
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"text = {text!r} is not text, or is empty", where=where, remedy="Drop the row.")
    prompt = Prompt(str(values.get("id", digest(text)[:16])), messages=(), metadata=_metadata(values, where))
    return Row(prompt, ((text, 1.0),))


def _field(values: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in values:
        shared = name == "prompt" and isinstance(values.get("chosen"), list)
        remedy = "`harness data export` takes it from chosen and rejected." if shared else f"Write one of {FORMATS}."
        raise ConfigError(f"{name} is missing", where=where, remedy=remedy)
    return values[name]


def _messages(value: Any, name: str, where: str) -> list[dict[str, str]]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    good = isinstance(value, list) and all(
        isinstance(m, dict) and set(m) == {"role", "content"} and all(isinstance(v, str) for v in m.values())
        for m in value
    )
    if not good or not value:
        raise ConfigError(
            f"{name} is neither text nor a list of messages",
            where=where,
            remedy='Use [{"role": ..., "content": ...}], with text and no other keys, and calls as JSON text: '
            "`harness data export` converts other forms.",
        )
    return list(value)


def _answer(value: Any, name: str, where: str) -> str:
    messages = [{"role": "assistant", "content": value}] if isinstance(value, str) else _messages(value, name, where)
    if len(messages) != 1:
        raise ConfigError(
            f"{name} holds {len(messages)} messages, not one", where=where, remedy="Put the rest in prompt."
        )
    if messages[0]["role"] != "assistant":
        raise ConfigError(
            f"{name} does not end with an answer of the assistant's", where=where, remedy="Add what is to be learnt."
        )
    if not messages[0]["content"]:
        raise ConfigError(f"{name} ends with an empty answer", where=where, remedy="Drop the row.")
    return messages[0]["content"]


def _prompt(messages: Sequence[Mapping[str, str]], values: Mapping[str, Any], where: str) -> Prompt:
    tools = _tools(values.get("tools"), where)
    given = str(values.get("id", digest([list(messages), tools])[:16]))
    return Prompt(given, tuple(messages), tools=tools, metadata=_metadata(values, where))


def _metadata(values: Mapping[str, Any], where: str) -> dict[str, str]:
    """Where a row is from, as JSON, if it says so. It is no part of what the prompt is."""
    origin = values.get("origin")
    if origin is not None and not isinstance(origin, dict):
        raise ConfigError(f"origin = {origin!r} is no object", where=where, remedy="Name the column otherwise.")
    return {} if origin is None else {"origin": canonical_json(origin)}


def _tools(value: Any, where: str) -> str:
    try:
        return read_tools(value)
    except RowError:
        raise ConfigError(
            "tools is not a list of functions", where=where, remedy='Use [{"name": ..., "parameters": {...}}].'
        ) from None
