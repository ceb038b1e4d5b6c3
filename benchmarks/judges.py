"""How many completions a second each deterministic judge scores, on one core, as a table.

    python benchmarks/judges.py [--json FILE] [JUDGE ...]

Calls are judged on the training prompts of the suite `tool-calls`, eight different answers to each: the gold calls in
two syntaxes, and with an argument changed, left out, added, another function, cut off, and prose. Everything else is
judged on eight paragraphs of 60 words a prompt, made of those prompts' questions. *First* is the first pass, when
models are unpacked and the first case reads the items; *again* is the best of three more, as in later rounds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from harness.api import find_suite
from harness.plugins import Registry, load_registry
from harness.protocols import RunContext
from harness.tools import ToolCall, parse_calls, write_calls, write_tagged_calls
from harness.types import Completion, Group, Prompt, Sampling

WORDS = 60
"""Of a paragraph."""
SCHEMA = {"type": "array", "items": {"type": "object", "required": ["name", "arguments"]}}
YEAR: Mapping[str, Any] = {"name": "regex", "config": {"pattern": r"\b\d{4}\b"}}


@dataclass(frozen=True)
class Case:
    judge: str
    config: Mapping[str, Any] = field(default_factory=dict)
    calls: bool = False
    note: str = ""


CASES = (
    Case("tool_call", calls=True),
    Case("tool_call", {"credit": "partial"}, calls=True, note="partial credit"),
    Case("tool_call", {"mode": "bfcl"}, calls=True, note="bfcl"),
    Case("json_schema", calls=True),
    Case("exact"),
    Case("regex", YEAR["config"]),
    Case("length", {"min": 50}),
    Case("repetition"),
    Case("language", {"languages": ["en"]}),
    Case("refusal"),
    Case("readability", {"max": 10}),
    Case("format", {"no_markdown": True, "ends_with_sentence": True, "max_sentences": 5}),
    Case("panel", {"members": [YEAR, {"name": "refusal"}, {"name": "repetition"}]}, note="of three rules"),
    Case("cascade", {"stages": [{**YEAR, "low": 0.0}, {"name": "repetition"}]}, note="of two rules"),
)


def call_groups(prompts: Sequence[Prompt]) -> list[Group]:
    return [_group(prompt, _answers(parse_calls(prompt.reference))) for prompt in prompts if prompt.reference]


def _answers(calls: list[ToolCall]) -> list[str]:
    """Eight different answers where these calls are due, two of them right."""
    right = write_calls(calls)
    if not calls:
        return [right, "[ ]", *(write_calls([ToolCall(f"f{i}", {})]) for i in range(5)), "None of these fits."]
    first, *rest = calls
    arguments = dict(first.arguments)
    variants = (
        ToolCall(first.name, arguments | dict.fromkeys(list(arguments)[:1], "another")),
        ToolCall(first.name, dict(list(arguments.items())[1:])),
        ToolCall(first.name, arguments | {"one_more": 1}),
        ToolCall(f"{first.name}_too", arguments),
    )
    wrong = [write_calls([variant, *rest]) for variant in variants]
    return [right, write_tagged_calls(calls), *wrong, right[:-5], f"I would call {first.name}."]


def prose_groups(prompts: Sequence[Prompt]) -> list[Group]:
    words = " ".join(str(prompt.messages[-1]["content"]) for prompt in prompts).split()
    groups = []
    for number, prompt in enumerate(prompts):
        starts = ((number * 8 + i) * WORDS % (len(words) - WORDS) for i in range(8))
        groups.append(_group(prompt, [" ".join(words[start : start + WORDS]) for start in starts]))
    return groups


def _group(prompt: Prompt, texts: Sequence[str]) -> Group:
    return Group(prompt, (), tuple(Completion(text, ()) for text in texts), "base", Sampling())


def measure(case: Case, prompts: Sequence[Prompt], registry: Registry) -> dict[str, Any]:
    judge = registry.create("judge", case.judge, case.config, RunContext(components=registry))
    if case.judge == "json_schema":
        prompts = [Prompt(p.id, p.messages, reference=p.reference, schema=json.dumps(SCHEMA)) for p in prompts]
    if case.judge == "exact":
        prompts = [Prompt(p.id, p.messages, reference=p.reference) for p in prompts]
    groups = call_groups(prompts) if case.calls else prose_groups(prompts)
    count = sum(len(group.completions) for group in groups)
    seconds = []
    for _ in range(4):
        started = time.process_time()
        scores = judge.score(groups)
        seconds.append(time.process_time() - started)
    values = [score.value for row in scores for score in row if score.value is not None]
    return {
        "judge": case.judge,
        "note": case.note,
        "completions": count,
        "mean": sum(values) / len(values),
        "first_per_second": count / seconds[0],
        "again_per_second": count / min(seconds[1:]),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    made = Table("judge", "with", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("completions", "mean value", "first, 1/s", "again, 1/s"):
        made.add_column(name, justify="right")
    for row in rows:
        speeds = (f"{row[name]:,.0f}" for name in ("first_per_second", "again_per_second"))
        made.add_row(row["judge"], row["note"], f"{row['completions']:,}", f"{row['mean']:.3f}", *speeds)
    return made


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time the judges that are rules.")
    parser.add_argument("judge", nargs="*", help="only these; without any, all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table's rows there")
    options = parser.parse_intermixed_args(arguments)
    known = {case.judge for case in CASES}
    if unknown := sorted(set(options.judge) - known):
        parser.error(f"unknown judge {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    registry = load_registry()
    prompts = find_suite("tool-calls", registry, RunContext(components=registry)).train
    cases = [case for case in CASES if not options.judge or case.judge in options.judge]
    rows = [measure(case, prompts, registry) for case in cases]
    Console().print(table(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
