"""Records of one question and one answer, and filters as the verbs run them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.assets import fetch
from harness.data.filtering import FilterUse, Sifted, make_sieve, sift
from harness.data.record import Answer, Record
from harness.plugins import load_registry
from harness.protocols import RunContext
from harness.types import Prompt


def record(
    asked: str, *answers: str, worths: Sequence[float] = (1.0, 0.0), system: str = "", tools: str = ""
) -> Record:
    messages = [{"role": "system", "content": system}] if system else []
    prompt = Prompt("", (*messages, {"role": "user", "content": asked}), tools=tools)
    given = tuple(Answer(text, worth) for text, worth in zip(answers, worths, strict=False))
    return Record(prompt, given, {0: "prompt", 1: "demonstration"}.get(len(given), "pair"), "here", 1)  # type: ignore[arg-type]


def sifted(records: Sequence[Record], name: str, **config: Any) -> Sifted:
    registry = load_registry()
    return sift(records, make_sieve([FilterUse(name=name, config=config)], registry, RunContext(components=registry)))


def questions() -> list[str]:
    """Real ones, each once."""
    found: dict[str, None] = {}
    for category in ("live_multiple", "simple_python", "multiple", "irrelevance"):
        for line in (fetch("bfcl") / f"BFCL_v4_{category}.json").read_text().splitlines():
            found[json.loads(line)["question"][0][-1]["content"]] = None
    return list(found)
