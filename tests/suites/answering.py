"""A built-in suite, and the mean that a policy made of a function gets on it from the suite's own judges."""

from __future__ import annotations

from collections.abc import Callable

from harness.protocols import RunContext, Suite
from harness.types import Completion, Group, Prompt, Sampling, Score
from harness_judges.plugin import harness_register_judges
from harness_suites.plugin import harness_register_suites

Policy = Callable[[Prompt], str]


def load(name: str) -> Suite:
    spec = next(spec for spec in harness_register_suites() if spec.name == name)
    return spec.create(None, RunContext())


def scores(suite: Suite, prompts: tuple[Prompt, ...], policy: Policy, *, use: str = "eval") -> list[Score]:
    """By the one judge of the suite that serves this use."""
    (seat,) = (judge for judge in suite.judges if judge.use in (use, "both"))
    spec = next(spec for spec in harness_register_judges() if spec.name == seat.name)
    judge = spec.create(spec.config(**seat.config), RunContext())
    groups = [Group(prompt, (1,), (Completion(policy(prompt), (1,)),), "base", Sampling()) for prompt in prompts]
    return [score for (score,) in judge.score(groups)]


def mean(suite: Suite, policy: Policy) -> float:
    values = [score.value for score in scores(suite, suite.items, policy)]
    assert None not in values
    return sum(value or 0.0 for value in values) / len(values)


def asked(prompt: Prompt) -> str:
    return str(prompt.messages[-1]["content"])


# Policies that do not do what they are asked. Some look at the prompt, none at what it means.
DEGENERATE: dict[str, Policy] = {
    "empty": lambda prompt: "",
    "echo": asked,
    "echo twice": lambda prompt: f"{asked(prompt)}\n{asked(prompt)}",
    "first sentence": lambda prompt: asked(prompt).partition(". ")[0],
    "last line": lambda prompt: asked(prompt).splitlines()[-1],
    "a word": lambda prompt: "Yes.",
    "a promise": lambda prompt: "Sure, here is how you do it: first, take what you need.",
    "declines": lambda prompt: "I'm sorry, but I can't help with that.",
    "a number": lambda prompt: "1",
    "a citation": lambda prompt: "[1]",
    "nothing there": lambda prompt: "Not in the passage.",
    "brackets": lambda prompt: "[]",
}
