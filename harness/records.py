"""Scored groups as Parquet (a row a completion), reports and decisions as JSON. Reading gives back what was written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.monitors import CanaryFigures, Gap, MonitorReport
from harness.statistics import Interval
from harness.text_figures import TextFigures
from harness.types import (
    Check,
    Completion,
    EvalReport,
    GateDecision,
    Group,
    ItemResult,
    Preference,
    Prompt,
    Sampling,
    Score,
    ScoredGroup,
    SuiteReport,
    canonical_json,
)


def write_groups(path: Path, groups: Sequence[ScoredGroup]) -> None:
    """Completions of a group are consecutive rows with one `group` number. Values of unequal shape are JSON text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row for number, scored in enumerate(groups) for row in _rows(number, scored)]
    pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), path, compression="zstd")


def _rows(number: int, scored: ScoredGroup) -> list[dict[str, Any]]:
    group = scored.group
    shared = {
        "group": number,
        "prompt_id": group.prompt.id,
        "prompt": canonical_json(asdict(group.prompt)),
        "prompt_token_ids": group.prompt_token_ids,
        "policy_version": group.policy_version,
        "sampling": canonical_json(asdict(group.sampling)),
        "generator": group.generator,
    }
    # Of the whole group: they are with its first completion.
    preferences = [canonical_json([asdict(p) for p in scored.preferences]), *["[]"] * (len(scored.rewards) - 1)]
    return [
        {
            **shared,
            "text": completion.text,
            "token_ids": completion.token_ids,
            "logprobs": completion.logprobs,
            "finish_reason": completion.finish_reason,
            "scores": [asdict(score) for score in scored.scores[index]],
            "reward": scored.rewards[index],
            "preferences": preferences[index],
        }
        for index, completion in enumerate(group.completions)
    ]


def _schema() -> Any:
    import pyarrow as pa

    text, ids = pa.string(), pa.list_(pa.int32())
    score = {
        "judge": text,
        "value": pa.float64(),
        "status": text,
        "label": text,
        "explanation": text,
        "cost": pa.float64(),
        "raw": text,
        "tokens": pa.int64(),
        "latency": pa.float64(),
    }
    return pa.schema(
        {
            "group": pa.int32(),
            "prompt_id": text,
            "prompt": text,
            "prompt_token_ids": ids,
            "text": text,
            "token_ids": ids,
            "logprobs": pa.list_(pa.float64()),
            "finish_reason": text,
            "policy_version": text,
            "sampling": text,
            "generator": text,
            "scores": pa.list_(pa.struct(score)),
            "reward": pa.float64(),
            "preferences": text,
        }
    )


def read_groups(path: Path) -> list[ScoredGroup]:
    import pyarrow.parquet as pq

    # One file, not a dataset: partition discovery would read meaning into folder names.
    rows = pq.ParquetFile(path).read().to_pylist()
    by_number: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        by_number.setdefault(row["group"], []).append(row)
    return [_group(by_number[number]) for number in sorted(by_number)]


def _group(rows: Sequence[dict[str, Any]]) -> ScoredGroup:
    first = rows[0]
    prompt = json.loads(first["prompt"])
    prompt["messages"] = tuple(prompt["messages"])
    completions = tuple(
        Completion(
            row["text"],
            tuple(row["token_ids"]),
            None if row["logprobs"] is None else tuple(row["logprobs"]),
            row["finish_reason"],
        )
        for row in rows
    )
    group = Group(
        Prompt(**prompt),
        tuple(first["prompt_token_ids"]),
        completions,
        first["policy_version"],
        Sampling(**json.loads(first["sampling"])),
        first["generator"],
    )
    scores = tuple(tuple(Score(**score) for score in row["scores"]) for row in rows)
    preferences = tuple(Preference(**value) for value in json.loads(first.get("preferences", "[]")))
    return ScoredGroup(group, scores, tuple(row["reward"] for row in rows), preferences)


def write_json(path: Path, record: EvalReport | GateDecision | MonitorReport) -> None:
    path.write_text(json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n")


def read_report(path: Path) -> EvalReport:
    data = json.loads(path.read_text())
    suites = tuple(
        SuiteReport(**{**suite, "items": tuple(_item(item) for item in suite["items"])}) for suite in data["suites"]
    )
    return EvalReport(data["policy_version"], suites)


def _item(data: dict[str, Any]) -> ItemResult:
    return ItemResult(**{**data, "labels": tuple(data["labels"]), "epochs": tuple(data.get("epochs", ()))})


def read_decision(path: Path) -> GateDecision:
    data = json.loads(path.read_text())
    return GateDecision(
        data["outcome"], data["sentence"], tuple(Check(**check) for check in data["checks"]), data.get("look", 1)
    )


def read_monitors(path: Path) -> MonitorReport:
    data = json.loads(path.read_text())
    gap = {name: Interval(**bounds) for name, bounds in (data["gap"] or {}).items()}
    read = {
        "candidate": TextFigures(**data["candidate"]),
        "incumbent": TextFigures(**data["incumbent"]),
        "gap": Gap(**gap) if gap else None,
        "win_rates": {name: Interval(**bounds) for name, bounds in data.get("win_rates", {}).items()},
        "canaries": CanaryFigures(**data["canaries"]) if data["canaries"] else None,
        "alarms": tuple(data["alarms"]),
    }
    return MonitorReport(**{**data, **read})
