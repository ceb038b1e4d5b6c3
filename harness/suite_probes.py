"""Answers that say something about a suite rather than about a model: its references, and those of policies that ignore
what they are asked. None of these may be worth much."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.canaries import asked
from harness.checking import group
from harness.errors import HarnessError
from harness.judging import Bench
from harness.protocols import Suite
from harness.tools import ToolCall, write_calls
from harness.types import Group, Prompt, ScoredGroup


@dataclass(frozen=True, slots=True)
class Policy:
    """What answers a prompt without any thought of it."""

    name: str
    answer: Callable[[Prompt], str]


def degenerate_policies(suite: Suite) -> list[Policy]:
    """Those that every suite must see through, and those that its tools, its JSON or its references suggest."""
    policies = [
        _constant("empty", ""),
        _constant("yes", "Yes."),
        _constant("vague", "I think so."),
        _constant("refuse", "I'm sorry, but I can't help with that."),
        Policy("echo", asked),
    ]
    references = Counter(item.reference for item in suite.items if item.reference)
    if any(item.tools for item in suite.items):
        policies.append(Policy("call", _first_tool))
    if any(item.tools or item.schema for item in suite.items) or any(text[0] in "[{" for text in references):
        policies += [_constant("{}", "{}"), _constant("[]", "[]")]
    for text, count in references.most_common(1):
        if count > 1:
            policies.append(_constant("commonest", text))
    return policies


def _constant(name: str, text: str) -> Policy:
    return Policy(name, lambda prompt: text)


def _first_tool(prompt: Prompt) -> str:
    """A call of the first tool with no arguments; nothing where there are no tools."""
    tools = json.loads(prompt.tools or "[]")
    return write_calls([ToolCall(tools[0]["name"], {})]) if tools else ""


# ---------------------------------------------------------------- judging them


def judged(bench: Bench, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[ScoredGroup | HarnessError]:
    """What the judges say of one answer to each prompt, or why they cannot say anything of it."""
    groups = [group(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
    try:
        return list(bench.score(groups))
    except HarnessError:  # one item is at fault, and the others are to be judged nevertheless
        return [scored for each in groups for scored in _judged_alone(bench, each)]


def _judged_alone(bench: Bench, alone: Group) -> Sequence[ScoredGroup | HarnessError]:
    try:
        return bench.score([alone])
    except HarnessError as error:
        return [error]


def mean_score(bench: Bench, prompts: Sequence[Prompt], policy: Policy) -> float | None:
    """Mean reward over the prompts on which it has one, None if there are none."""
    verdicts = judged(bench, prompts, [policy.answer(prompt) for prompt in prompts])
    rewards = [verdict.rewards[0] for verdict in verdicts if isinstance(verdict, ScoredGroup)]
    known = [reward for reward in rewards if reward is not None]
    return sum(known) / len(known) if known else None


def said(verdict: ScoredGroup) -> str:
    """What each judge says of the one answer."""
    return ", ".join(
        f"{score.judge}: {score.explanation or score.label or score.status}" for score in verdict.scores[0]
    )
