"""The `verifiers` judge: against the package's own rubrics, and on what those would count as 0."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from telling_judges import group_of, make

from harness.errors import ConfigError
from harness.judging import judges_fingerprint
from harness.plugins import load_module, load_registry
from harness.protocols import JudgeUse
from harness.types import Group, Score

FUNCTIONS = """
import asyncio

seen = []

def short(completion, **kwargs):
    seen.append(kwargs)
    return len(completion[0]["content"]) < 3

async def right(completion, answer):
    await asyncio.sleep(0)
    return float(completion[-1]["content"] == answer)

def told(completion, info, state, category):
    assert state["completion"] == completion
    return 1.0 if (info["target"], info["category"], category) == ({"answers": ["yes"]}, "c", "c") else 0.0

def raises_on_b(completion):
    if completion[0]["content"] == "b":
        raise RuntimeError("no b")
    return 1.0

def rank(completions, answers):
    order = sorted(len(c[0]["content"]) for c in completions)
    return [order.index(len(c[0]["content"])) / (len(order) - 1) for c in completions]

def too_few(completions):
    return [1.0]

def says(completion):
    return {"2": 2.0, "nan": float("nan"), "none": None, "text": "high"}[completion[0]["content"]]

LIMIT = 3
"""

RUBRICS = """
import verifiers as vf

parser = vf.XMLParser(fields=["think", "answer"], answer_field="answer")

def right(completion, answer, parser, **kwargs):
    return 1.0 if parser.parse_answer(completion) == answer else 0.0

async def brief(completion, state):
    return 0.5 if len(state["completion"][0]["content"]) < 60 else 0.25

def raises(completion):
    raise RuntimeError("no")

def against(completions, answers):
    return [1.0 / (i + 1) for i in range(len(completions))]

rubric = vf.Rubric(funcs=[right, parser.get_format_reward_func(), brief], weights=[1.0, 0.2, 0.5], parser=parser)
rubric.add_metric(raises)
think = vf.Rubric(funcs=[vf.ThinkParser().get_format_reward_func()])
both = vf.RubricGroup([rubric, think])
group = vf.Rubric(funcs=[right, against], weights=[1.0, 3.0], parser=parser)
broken = vf.Rubric(funcs=[right, raises], parser=parser)
penalty = vf.Rubric(funcs=[right, brief], weights=[1.0, -0.5], parser=parser)
metrics = vf.Rubric(funcs=[right], weights=[0.0], parser=parser)

class Own(vf.Rubric):
    async def score_rollout(self, state):
        state["reward"] = 0.0

own = Own(funcs=[right])
"""
ANSWERS = (
    "<think>\nwell\n</think>\n<answer>\nyes\n</answer>",
    "<think>\nwell\n</think>\n<answer>\nno\n</answer>",
    "yes",
    "<think>" + "on and on " * 20 + "</think> yes",
    "",
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rewards.py"
    path.write_text(FUNCTIONS)
    return path


@pytest.fixture
def rubrics(tmp_path: Path) -> Path:
    pytest.importorskip("verifiers")
    path = tmp_path / "rubrics.py"
    path.write_text(RUBRICS)
    return path


def asked(*texts: str) -> Group:
    group = group_of(*texts)
    target = json.dumps({"answers": ["yes"]})
    return replace(group, prompt=replace(group.prompt, reference="yes", target=target, metadata={"category": "c"}))


def score(path: Path, name: str, *texts: str) -> tuple[Score, ...]:
    judge = make("verifiers", path=str(path), name=name)
    [scores] = judge.score([asked(*texts)])
    judge.close()
    return scores


# ---------------------------------------------------------------- functions, without the package


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("short", (1.0, 0.0)),
        ("right", (0.0, 1.0)),
        ("told", (1.0, 1.0)),
        ("rank", (0.0, 1.0)),
        ("raises_on_b", (1.0, 1.0)),
    ],
)
def test_a_function_gets_what_it_asks_for_by_name(file: Path, name: str, values: tuple[float, ...]) -> None:
    scores = score(file, name, "x", "yes")
    assert [(s.judge, s.value) for s in scores] == [("verifiers", value) for value in values]
    assert scores[0].explanation == f"{name} {values[0]:g}"


def test_what_a_function_cannot_do_has_failed_and_is_never_0(file: Path) -> None:
    first, second = score(file, "raises_on_b", "a", "b")
    assert (first.value, second.value, second.status) == (1.0, None, "failed")
    assert second.explanation == "raises_on_b raised RuntimeError: no b"
    assert [s.explanation for s in score(file, "says", "2", "nan", "none", "text")] == [
        "says gave 2.0, which is outside [0, 1]",
        "says gave nan, which is outside [0, 1]",
        "says gave None, which is no number",
        "says gave 'high', which is no number",
    ]
    assert [s.explanation for s in score(file, "too_few", "a", "b")] == ["too_few gave no list of 2 values"] * 2
    [missing] = score(file, "says", "unheard of")
    assert missing.explanation == "says raised KeyError: 'unheard of'"


def test_groups_of_an_async_function_are_judged_at_once_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "slow.py"
    path.write_text(
        "import asyncio\nnow = most = 0\n"
        "async def slow(completion):\n"
        "    global now, most\n"
        "    now += 1\n"
        "    most = max(most, now)\n"
        "    await asyncio.sleep(0.01)\n"
        "    now -= 1\n"
        "    return most / 10\n"
    )
    judge = make("verifiers", path=str(path), name="slow", concurrency=3)
    scores = judge.score([group_of(str(i)) for i in range(9)])
    assert max(s.value for [s] in scores if s.value is not None) == 0.3
    again = judge.score([group_of("x")])  # on the same loop
    assert again[0][0].value == 0.3


def test_bad_settings_are_refused(file: Path) -> None:
    for name in ("LIMIT", "shrot"):
        with pytest.raises(ConfigError, match=rf"judge verifiers: .*has no rubric or function '{name}'"):
            make("verifiers", path=str(file), name=name)
    with pytest.raises(ConfigError, match="say what of the file it is"):
        make("verifiers", path=str(file))


def test_the_identity_is_that_of_the_file_and_not_of_the_pace(file: Path) -> None:
    registry = load_registry()

    def fingerprint(**settings: Any) -> str:
        return judges_fingerprint([JudgeUse("verifiers", {"path": str(file), "name": "short", **settings})], registry)

    before = fingerprint()
    assert fingerprint(concurrency=1) == before
    file.write_text(FUNCTIONS + "# other\n")
    assert fingerprint() != before


# ---------------------------------------------------------------- the package's own rubrics


def expected(module: Any, name: str, texts: Sequence[str], total: float) -> list[float]:
    """What the package itself makes of the same rollouts, its sum of weighted values brought to a mean."""
    states = [
        {
            "prompt": [{"role": "user", "content": "q"}],
            "completion": [{"role": "assistant", "content": text}],
            "answer": "yes",
            "info": {},
            "trajectory": [],
        }
        for text in texts
    ]
    asyncio.run(getattr(module, name).score_group(states))
    return [state["reward"] / total for state in states]  # type: ignore[operator]


@pytest.mark.parametrize(("name", "total"), [("rubric", 1.7), ("think", 1.0), ("both", 2.7), ("group", 4.0)])
def test_values_are_the_package_s_rewards_over_the_sum_of_weights(rubrics: Path, name: str, total: float) -> None:
    scores = score(rubrics, name, *ANSWERS)
    theirs = expected(load_module(rubrics, where="test"), name, ANSWERS, total)
    assert [s.value for s in scores] == pytest.approx(theirs)
    assert len(set(theirs)) > 1


def test_what_the_package_counts_as_0_has_failed_here(rubrics: Path) -> None:
    assert expected(load_module(rubrics, where="test"), "broken", ANSWERS[:1], 2.0) == [0.5]
    [verdict] = score(rubrics, "broken", ANSWERS[0])
    assert (verdict.value, verdict.explanation) == (None, "raises raised RuntimeError: no")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("penalty", "brief has a negative weight"),
        ("metrics", "no function with a weight"),
        ("own", r"Own scores in a way of its own \(score_rollout\)"),
        ("Own", "no rubric or function 'Own'"),
    ],
)
def test_rubrics_that_cannot_be_followed_are_refused(rubrics: Path, name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make("verifiers", path=str(rubrics), name=name)
