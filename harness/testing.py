"""Whether a judge keeps its contract, for the tests of whoever ships one.

def test_contract():
    assert_judge(my_spec, config={"words": 3})
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.judging import Bench
from harness.plugins import validate
from harness.protocols import RunContext
from harness.rewards import JudgingConfig
from harness.specs import JudgeSpec
from harness.types import Completion, Group, Prompt, Sampling, Score

TEXTS = (
    "A plain answer.",
    "",
    "  \n",
    '{"answer": 42}',
    "née Ωmega 漢字 \U0001f642",
    "again " * 400,
    "A plain answer.",
)


def sample_groups() -> list[Group]:
    """Groups of different sizes, with answers that judges stumble over: empty, of spaces, very long, cut off, equal."""
    prompts = [
        Prompt("chat", ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a colour."})),
        Prompt(
            "gold", ({"role": "user", "content": "What is 6 times 7?"},), reference="42", metadata={"category": "x"}
        ),
        Prompt("lone", ({"role": "user", "content": "Say nothing."},)),
    ]
    completions = [tuple(_completion(text) for text in texts) for texts in (TEXTS, TEXTS[:3], TEXTS[3:4])]
    return [Group(p, (1, 2), c, "base", Sampling(), "sample") for p, c in zip(prompts, completions, strict=True)]


def assert_judge(
    spec: JudgeSpec,
    *,
    config: Mapping[str, Any] | None = None,
    groups: Sequence[Group] | None = None,
    context: RunContext | None = None,
) -> None:
    """Try the judge on `groups` (default: `sample_groups`; give your own where it needs targets of its own).

    Raises AssertionError, saying which promise was broken: one Score of its own for each completion, with a value in
    [0, 1] or none; an input that is left as it was; nothing for nothing; and of a judge that calls itself deterministic
    the same verdicts again, in whatever order and company the groups come.
    """
    groups = list(sample_groups() if groups is None else groups)
    settings = validate(spec.config, config or {}, where=f"judge {spec.name}")
    judge = spec.create(settings, context or RunContext())
    before = copy.deepcopy(groups)
    verdicts = _score(spec.name, judge, groups)
    assert groups == before, f"judge {spec.name} changes the groups that it is given"
    assert _score(spec.name, judge, []) == [], f"judge {spec.name} returns something for no groups"
    if spec.deterministic:
        turned = _score(spec.name, judge, groups[::-1])[::-1]
        alone = [_score(spec.name, judge, [group])[0] for group in groups]
        for again, how in ((turned, "in another order"), (alone, "one by one")):
            same = [[s.value for s in scores] for scores in again] == [[s.value for s in scores] for scores in verdicts]
            assert same, f"judge {spec.name} calls itself deterministic and gives other verdicts {how}"


def _score(name: str, judge: Any, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
    """As a run would have it scored. Failed verdicts are allowed here: they are honest."""
    bench = Bench({name: judge}, {name: 1.0}, limits=JudgingConfig(max_failed=1.0))
    try:
        scored = bench.score(groups)
    except HarnessError as error:
        raise AssertionError(str(error)) from error
    return [tuple(score for (score,) in one.scores) for one in scored]


def _completion(text: str) -> Completion:
    tokens = tuple(range(1, 2 + len(text.split())))
    return Completion(text, tokens, finish_reason="length" if len(tokens) > 256 else "stop")
