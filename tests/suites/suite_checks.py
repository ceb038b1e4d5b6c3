"""What every suite of this project is held to: policies that read nothing, and sides that share nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import harness_suites
from harness.judging import seat_judges
from harness.plugins import load_registry
from harness.protocols import RunContext, Suite
from harness.suites import load_suite
from harness.types import Completion, Group, Prompt, Sampling

Policy = Callable[[Prompt], str]

REFUSAL = "I'm sorry, but I can't help with that."


def own_suite(name: str) -> Suite:
    return load_suite(Path(harness_suites.__file__).parent / name)


def request(prompt: Prompt) -> str:
    return str(prompt.messages[-1]["content"])


def oracle(prompt: Prompt) -> str:
    assert prompt.reference, prompt.id
    return prompt.reference


def rewards(suite: Suite, prompts: Sequence[Prompt], policy: Policy, *, purpose: str = "eval") -> dict[str, float]:
    """By id, what the suite's judges for the purpose give the policy's answers, seated as a run seats them."""
    return {key: value for key, (value,) in _rewards(suite, prompts, lambda prompt: [policy(prompt)], purpose).items()}


def _rewards(
    suite: Suite, prompts: Sequence[Prompt], policy: Callable[[Prompt], Sequence[str]], purpose: str
) -> dict[str, list[float]]:
    bench = seat_judges(suite, purpose, load_registry(), RunContext())
    groups = [
        Group(p, (1,), tuple(Completion(text, (1, 2)) for text in policy(p)), "base", Sampling()) for p in prompts
    ]
    found = {}
    for scored in bench.score(groups):
        found[scored.group.prompt.id] = [value for value in scored.rewards if value is not None]
        assert len(found[scored.group.prompt.id]) == len(scored.rewards)
    return found


def means_of_fixed(suite: Suite, texts: Sequence[str]) -> list[float]:
    """The held-out score of each text as the answer to everything."""
    columns = zip(*_rewards(suite, suite.items, lambda prompt: texts, "eval").values(), strict=True)
    return [sum(column) / len(suite.items) for column in columns]


def mean(suite: Suite, policy: Policy) -> float:
    found = rewards(suite, suite.items, policy)
    return sum(found.values()) / len(suite.items)


def without_reading(suite: Suite) -> dict[str, float]:
    """The held-out score of policies that do not do what they are asked."""
    fixed = {
        "empty": "",
        "blank": " \n",
        "word": "OK",
        "yes": "Yes.",
        "no": "No.",
        "refusal": REFUSAL,
        "object": "{}",
        "list": "- One.\n- Two.\n- Three.",
    }
    scores = dict(zip(fixed, means_of_fixed(suite, list(fixed.values())), strict=True))
    scores["echo"] = mean(suite, request)
    scores["echo of all"] = mean(suite, lambda p: "\n".join(str(m["content"]) for m in p.messages))
    return scores


def shingles(text: str, n: int = 5) -> set[tuple[str, ...]]:
    """The n-grams of words; all the words, where there are fewer than n."""
    found = re.findall(r"\w+", text.casefold())
    return {tuple(found[i : i + n]) for i in range(max(1, len(found) - n + 1))}


def closest(ours: Sequence[tuple[str, str]], theirs: Sequence[tuple[str, str]]) -> tuple[float, str, str]:
    """Of (id, text) on two sides, the pair that shares most 5-grams of words, and their Jaccard index."""
    sets = [(key, shingles(text)) for key, text in theirs]
    return max(
        (len(a & b) / len(a | b), key, other) for key, a in ((k, shingles(t)) for k, t in ours) for other, b in sets
    )
