"""Records of every kind, exported and read again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets

from harness.data.exporting import Exported, ExportPlan, export
from harness.data.reading import BadRow
from harness.data.record import Answer, Record, RecordKind
from harness.data.writing import Shape
from harness.tools import ToolCall, write_calls
from harness.types import Prompt, canonical_json

ADD = {"name": "add", "description": "", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}
GREET = {
    "name": "greet",
    "description": "",
    "parameters": {"type": "object", "properties": {"who": {"type": "string"}}},
}
CALLS = write_calls([ToolCall("add", {"a": 1}), ToolCall("greet", {"who": "Zoë", "deep": {"x": [1, None]}})])


def record(
    kind: RecordKind = "demonstration",
    *answers: tuple[str, float | None],
    system: str = "",
    tools: Any = (),
    n: int = 0,
) -> Record:
    asked = [{"role": "system", "content": system}] if system else []
    asked.append({"role": "user", "content": f'Question {n}?\nünïcode, "quotes"'})
    given = tuple(Answer(text, worth) for text, worth in answers or [(f"Answer {n}", 1.0)])
    return Record(Prompt(f"p{n}", tuple(asked), tools=canonical_json(tools) if tools else ""), given, kind, "f", n + 1)


DEMONSTRATIONS = [
    record(n=0),
    record("demonstration", (CALLS, 1.0), tools=[ADD, GREET], n=1),
    record("demonstration", ("Yes.", 1.0), system="Be brief.", n=2),
]
PAIRS = [record("pair", ("good", 1.0), ("bad, and longer", 0.0), n=n) for n in range(3)]
LABELS = [record("label", (f"it is {n}", float(n % 2)), n=n) for n in range(4)]
GROUP = record("group", ("a", 0.2), ("b", 0.9), ("c", 0.9), ("d", None))
TEXTS = [Record(Prompt("t", ()), (Answer("Once\nupon a time"),), "text", "f", 1)]


def exported(records: Sequence[Record | BadRow], out: Path, to: str, **options: Any) -> Exported:
    shape: Any = options.pop("shape", out.suffix.removeprefix("."))
    return export(records, ExportPlan(out, to, shape, **options))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def load(path: Path, shape: Shape, cache: Path) -> Any:
    if shape == "datasets":
        return datasets.load_from_disk(str(path))
    kind = "json" if shape == "jsonl" else shape
    return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(cache))
