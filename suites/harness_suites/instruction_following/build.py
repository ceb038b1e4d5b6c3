"""Topics and constraints turned into prompts, with references that meet them.

`held_out.json` and `train.json` hold the topics: a request, five sentences that answer it, and words to ask for and to
forbid. Every topic gives three prompts, with one, two and three constraints. Which constraints meet which topic follows
from the order of the file and from hashes of names, so the result is a constant: a test pins a digest of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.protocols import Progress
from harness.types import Prompt
from harness_suites.instruction_following.draft import write
from harness_suites.instruction_following.wording import WORDINGS

# In each there is something that neither an empty phrase nor a refusal does by itself.
PLANS: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    (
        "one",
        (
            ("bullets",),
            ("paragraphs",),
            ("sentences",),
            ("words",),
            ("upper",),
            ("headings",),
            ("responses",),
            ("postscript",),
            ("json",),
            ("highlights",),
        ),
    ),
    (
        "two",
        (
            ("sentences", "lower"),
            ("bullets", "keyword"),
            ("words", "title"),
            ("paragraphs", "starts"),
            ("json", "keyword"),
            ("placeholders", "ends"),
            ("headings", "postscript"),
            ("sentences", "highlights"),
            ("responses", "forbidden"),
            ("words", "forbidden"),
        ),
    ),
    (
        "three",
        (
            ("bullets", "keyword", "ends"),
            ("sentences", "most_words", "forbidden"),
            ("paragraphs", "highlights", "no_commas"),
            ("starts", "ends", "sentences"),
            ("headings", "heading", "keyword"),
            ("lower", "bullets", "no_commas"),
            ("upper", "words", "forbidden"),
            ("paragraphs", "placeholders", "no_commas"),
            ("highlights", "keyword", "most_words"),
            ("responses", "keyword", "no_commas"),
        ),
    ),
)


def build(progress: Progress) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """Train and held-out prompts. A topic is a cluster and stays on one side."""
    train, held_out = (_side(side) for side in ("train", "held_out"))
    return train, held_out


def _side(side: str) -> tuple[Prompt, ...]:
    topics = json.loads((Path(__file__).parent / f"{side}.json").read_text(encoding="utf-8"))
    prompts = [
        make_prompt(topic, plans[number % len(plans)], side, category)
        for number, topic in enumerate(topics)
        for category, plans in PLANS
    ]
    return tuple(sorted(prompts, key=lambda prompt: _hash(prompt.id)))


def make_prompt(topic: Mapping[str, Any], plan: Sequence[str], side: str, category: str) -> Prompt:
    key = f"{topic['topic']}-{category}"

    def pick(name: str, options: Sequence[Any]) -> Any:
        return options[int(_hash(f"{key} {name}"), 16) % len(options)]

    reference, constraints = write(topic, plan, side, pick)
    asked = [
        pick(name, WORDINGS[side][name]).format_map(_said(constraint))
        for name, constraint in zip(plan, constraints, strict=True)
    ]
    return Prompt(
        id=key,
        messages=({"role": "user", "content": " ".join([topic["ask"], *asked])},),
        target=json.dumps({"constraints": constraints}),
        reference=reference,
        cluster=topic["topic"],
        metadata={"category": category},
    )


def _said(constraint: Mapping[str, Any]) -> dict[str, Any]:
    """What a wording may name: the texts, the bounds, and the only number that there is as `n` or `times`."""
    low, high = constraint.get("at_least"), constraint.get("at_most")
    number = constraint.get("exactly", low)
    return {**constraint, "low": low, "high": high, "n": number, "times": "once" if number == 1 else "twice"}


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
