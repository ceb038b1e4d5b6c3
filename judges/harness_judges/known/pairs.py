"""The built-in checks: where their pairs come from."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness import assets
from harness.api import find_suite
from harness.data.mutations import mutate
from harness.plugins import Registry
from harness.protocols import RunContext
from harness.types import KnownPair, Prompt
from harness_judges.settings import SampleConfig

WRITTEN = Path(__file__).parent.parent / "data" / "pairs.jsonl"
MUTATIONS = ("wrong_tool", "missing_argument", "wrong_value", "call_not_due", "no_call")
"""Kinds that this check has always had, so that its figures compare; `harness data negatives` has more."""
GROUNDED = "{passage}\n\nAnswer from the text above: {question}"


def written(config: SampleConfig, context: RunContext) -> list[KnownPair]:
    """Written for this project: in half of each kind the better answer is the longer one."""
    rows = [json.loads(line) for line in WRITTEN.read_text().splitlines()]
    chosen = random.Random(config.seed).sample(rows, min(config.count, len(rows)))
    return [
        _pair(row["id"], row["prompt"], row.get("context", ""), row["better"], row["worse"], row["kind"])
        for row in chosen
    ]


def grounded(config: SampleConfig, context: RunContext) -> list[KnownPair]:
    """HaluEval (arXiv:2305.11747): an answer that the passage supports, and one that was made up to look like it.

    What was made up is longer in most of its pairs, so that a judge may be right for its length alone: look at the
    length slope.
    """
    path = assets.fetch("halueval", context.progress) / "dataset_halueval_qa.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    chosen = random.Random(config.seed).sample(range(len(rows)), min(config.count, len(rows)))
    return [
        _pair(f"halueval-{i}", r["question"], r["knowledge"], r["right_answer"], r["hallucinated_answer"], "grounded")
        for i in chosen
        for r in [rows[i]]
    ]


def tool_calls(config: SampleConfig, context: RunContext) -> list[KnownPair]:
    """Held-out items of the suite tool-calls: the right calls, and the same made wrong in each way."""
    assert isinstance(context.components, Registry)
    items = list(find_suite("tool-calls", context.components, context).items)
    rng = random.Random(config.seed)
    rng.shuffle(items)
    return [pair for pair, _ in zip(_mutated(items, rng), range(config.count), strict=False)]


def _mutated(items: list[Prompt], rng: random.Random) -> Iterator[KnownPair]:
    """Each item once, by the kind that has had the fewest so far of those that it allows."""
    had = dict.fromkeys(MUTATIONS, 0)
    for item in items:
        for kind in sorted(had, key=lambda kind: had[kind]):
            wrong = mutate(item, kind, rng)
            if wrong is not None:
                had[kind] += 1
                # Without the reference, which is the better answer itself.
                yield KnownPair(replace(item, reference=None), item.reference or "[]", wrong, kind)
                break


def _pair(name: str, question: str, passage: str, better: str, worse: str, kind: str) -> KnownPair:
    asked = GROUNDED.format(passage=passage, question=question) if passage else question
    return KnownPair(Prompt(name, ({"role": "user", "content": asked},)), better, worse, kind)
