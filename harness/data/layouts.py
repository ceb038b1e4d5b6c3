"""Rows of the layouts that people have, as records, and records as rows of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.data.record import Answer, Record
from harness.training_data import KEYS
from harness.types import Prompt, canonical_json, digest


def record_of(row: Mapping[str, Any], source: str, place: int) -> Record:
    """Raises ValueError, which says what is wrong, for a row that no record can be made of."""
    tools = canonical_json(row["tools"]) if row.get("tools") else ""
    if "messages" in row:
        *messages, last = row["messages"]
        prompt = Prompt(str(row.get("id") or digest([messages, tools])[:16]), tuple(messages), tools=tools)
        return Record(prompt, (Answer(last["content"]),), "demonstration", source, place)
    given = row["prompt"]
    asked = given if isinstance(given, list) else [{"role": "user", "content": given}]
    extra = {key: value for key, value in row.items() if key not in KEYS or key == "origin"} | row.get("extra", {})
    prompt = Prompt(str(row.get("id") or digest([asked, tools])[:16]), tuple(asked), tools=tools)
    if "chosen" in row:
        return Record(prompt, (Answer(row["chosen"]), Answer(row["rejected"], 0.0)), "pair", source, place, extra)
    if "label" in row:
        return Record(prompt, (Answer(row["completion"], float(row["label"])),), "label", source, place, extra)
    return Record(prompt, (Answer(row["completion"]),), "demonstration", source, place, extra)


def row_of(record: Record) -> dict[str, Any]:
    """A record as a row that `harness train --data` reads: FORMATS of harness.training_data."""
    row: dict[str, Any] = {"id": record.prompt.id}
    if record.prompt.tools:
        row["tools"] = json.loads(record.prompt.tools)
    row["prompt"] = [dict(message) for message in record.prompt.messages]
    if record.kind == "group":
        raise ValueError("a group is no row; `harness data pairs` makes pairs of it")
    if record.kind == "pair":
        row |= {"chosen": record.answers[0].text, "rejected": record.answers[1].text}
    elif record.kind == "label":
        row |= {"completion": record.answers[0].text, "label": record.answers[0].worth == 1.0}
    elif record.kind == "demonstration":
        row |= {"completion": record.answers[0].text}
    return row | _beside(record)


def _beside(record: Record) -> dict[str, Any]:
    extra = dict(record.extra)
    origin = {"origin": extra.pop("origin")} if isinstance(extra.get("origin"), dict) else {}
    return origin | ({"extra": extra} if extra else {})
