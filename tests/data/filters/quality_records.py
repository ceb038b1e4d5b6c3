"""Records to try the quality filters on, and what a filter says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.record import Answer, Flaw, Record, RecordKind
from harness.plugins import load_registry
from harness.protocols import RunContext
from harness.types import Prompt

REGISTRY = load_registry(third_party=False)
QUALITY = (
    "format",
    "length",
    "repetition",
    "symbols",
    "boilerplate",
    "truncation",
    "language",
    "spam",
    "templates",
)
SURVEYING = ("length", "templates")


def make(name: str, config: Mapping[str, Any] | None = None) -> Any:
    return REGISTRY.create("filter", name, config or {}, RunContext(components=REGISTRY))


def record(answer: str = "Paris.", *, asked: str = "What is the capital of France?", tools: str = "") -> Record:
    """One demonstration."""
    return chat([{"role": "user", "content": asked}], [Answer(answer)], tools=tools)


def chat(
    messages: Sequence[Mapping[str, Any]],
    answers: Sequence[Answer],
    kind: RecordKind = "demonstration",
    tools: str = "",
) -> Record:
    return Record(Prompt("id", tuple(messages), tools=tools), tuple(answers), kind)


def text(document: str) -> Record:
    return Record(Prompt("id", ()), (Answer(document),), "text")


def said(name: str, one: Record, **config: Any) -> list[str]:
    """The reasons that a filter gives, in order."""
    flaws: Sequence[Flaw] = make(name, config).check(one)
    return [flaw.reason for flaw in flaws]
