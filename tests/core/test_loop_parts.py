from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import write_suite

from harness.config import EvalConfig
from harness.errors import PluginError
from harness.evaluation import evaluate_suites
from harness.measuring import slug
from harness.plugins import load_registry
from harness.protocols import Generator, JudgeUse, RunContext, Suite
from harness.sampler import draw_groups
from harness.sampling_step import derive_seed, train_batch
from harness.suites import load_suite
from harness.types import AdapterCheckpoint, Completion, EvalReport, Group, Prompt, Sampling


def prompts(count: int) -> tuple[Prompt, ...]:
    return tuple(Prompt(str(i), ({"role": "user", "content": str(i)},)) for i in range(count))


def suite(count: int) -> Suite:
    return Suite("s", "1", "target", prompts(3), (JudgeUse("exact"),), train=prompts(count))


def test_rounds_go_through_all_prompts_before_any_comes_again() -> None:
    taken = [p.id for used in range(0, 50, 10) for p in train_batch(suite(50), 0, used, 10)]
    assert sorted(taken, key=int) == [str(i) for i in range(50)]
    assert [p.id for p in train_batch(suite(50), 1, 0, 10)] != taken[:10]


@pytest.mark.parametrize("used", range(0, 200, 7))
def test_a_batch_across_two_passes_holds_no_prompt_twice(used: int) -> None:
    batch = [p.id for p in train_batch(suite(50), 0, used, 32)]
    assert len(set(batch)) == 32


def test_a_batch_larger_than_the_suite_repeats_as_little_as_it_can() -> None:
    batch = [p.id for p in train_batch(suite(5), 0, 3, 12)]
    assert sorted(batch.count(str(i)) for i in range(5)) == [2, 2, 2, 3, 3]


def test_seeds_of_rounds_and_runs_do_not_meet() -> None:
    assert len({derive_seed(seed, index) for seed in range(20) for index in range(20)}) == 400


def test_a_suite_name_becomes_a_file_name() -> None:
    assert slug("../a b") == "a-b"


class Giving:
    """A generator that gives what it was made with."""

    def __init__(self, groups: list[Group]) -> None:
        self.groups = groups

    def generate(self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, seed: int) -> list[Group]:
        return self.groups

    def load_adapter(self, checkpoint: AdapterCheckpoint | None) -> None: ...

    def score_tokens(self, token_ids: Sequence[int]) -> None: ...

    def close(self) -> None: ...


class Calls:
    """A generator that hands on what it is asked for, and keeps the prompts and the sampling of each call."""

    def __init__(self, generator: Generator) -> None:
        self.generator, self.made = generator, list[tuple[tuple[Prompt, ...], Sampling]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.generator, name)

    def generate(self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, seed: int) -> list[Group]:
        self.made.append((tuple(prompts), sampling))
        return self.generator.generate(prompts, n=n, sampling=sampling, seed=seed)


def test_a_suite_is_drawn_and_reported_alike_whatever_stands_beside_it(tmp_path: Path) -> None:
    """In a call of its own: what an engine computes side by side decides how it rounds."""
    registry = load_registry()
    one, other = (load_suite(write_suite(tmp_path / name, letters=name)) for name in ("ab", "abcd"))
    other = replace(other, sampling=replace(other.sampling, max_tokens=3))

    def evaluated(*suites: Suite) -> tuple[Calls, EvalReport]:
        calls = Calls(registry.create("generator", "scripted", {"default": ["a"]}, RunContext()))
        context, config = RunContext(components=registry), EvalConfig()
        report, _ = evaluate_suites(
            suites, calls, policy_version="base", registry=registry, context=context, config=config
        )
        return calls, report

    both, report = evaluated(one, other)
    assert both.made == [(one.items, one.sampling), (other.items, other.sampling)]
    for suite in (one, other):
        alone, alone_report = evaluated(suite)
        assert alone.made == [(suite.items, suite.sampling)]
        assert alone_report.suites == (report.suite(suite.name),)


def group(prompt: Prompt, n: int) -> Group:
    return Group(prompt, (1,), (Completion("x", (1,)),) * n, "base", Sampling())


@pytest.mark.parametrize("wrong", ["missing", "reordered", "short"])
def test_a_generator_that_leaves_something_out_is_refused(wrong: str) -> None:
    asked = prompts(3)
    given = {
        "missing": [group(p, 2) for p in asked[:2]],
        "reordered": [group(p, 2) for p in reversed(asked)],
        "short": [group(asked[0], 2), group(asked[1], 1), group(asked[2], 2)],
    }[wrong]
    with pytest.raises(PluginError):
        draw_groups(Giving(given), asked, n=2, sampling=Sampling(), seed=0)
    whole = [group(p, 2) for p in asked]
    assert draw_groups(Giving(whole), asked, n=2, sampling=Sampling(), seed=0) == whole
