"""Real data without planted defects, as records."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from harness.assets import fetch
from harness.data.record import Answer, Record
from harness.types import Prompt

SUITES = Path(__file__).parents[3] / "suites/harness_suites"


def record(asked: str, *answers: str, tools: str = "", kind: str = "demonstration") -> Record:
    prompt = Prompt("p", ({"role": "user", "content": asked},), tools=tools)
    return Record(prompt, tuple(Answer(text) for text in answers), kind)  # type: ignore[arg-type]


@cache
def tool_calls() -> list[Record]:
    """Requests of the Berkeley Function-Calling data with their tools and right calls."""
    folder = fetch("bfcl")
    records = []
    for name in ("simple_python", "multiple", "parallel", "live_simple"):
        with (folder / f"possible_answer/BFCL_v4_{name}.json").open(encoding="utf-8") as rows:
            right = {row["id"]: json.dumps(row["ground_truth"]) for row in map(json.loads, rows)}
        with (folder / f"BFCL_v4_{name}.json").open(encoding="utf-8") as rows:
            records += [
                record(row["question"][0][-1]["content"], right[row["id"]], tools=json.dumps(row["function"]))
                for row in map(json.loads, rows)
            ]
    return records


@cache
def passages() -> list[Record]:
    """Of Wikipedia, with a question and its answer."""
    with (fetch("halueval") / "dataset_halueval_qa.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(1000), strict=False)]
    return [record(f"{row['knowledge']}\n{row['question']}", row["right_answer"]) for row in rows]


def chats() -> list[Record]:
    rows = (SUITES / "general/items.jsonl").read_text(encoding="utf-8").splitlines()
    return [record(json.dumps(json.loads(row).get("messages") or json.loads(row).get("prompt"))) for row in rows]
