"""The judges that ask a model, over HTTP, with a real model served by a real vLLM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from vllm_server import NAME, vllm_server

from harness.protocols import RunContext
from harness.types import Completion, Group, Prompt, Sampling
from harness_judges.llm.pairwise import PairwiseJudge
from harness_judges.llm.pointwise import LlmJudge
from harness_judges.llm.ranking import RankJudge
from harness_judges.llm.settings import LlmConfig, PairwiseConfig, RankConfig

pytestmark = [pytest.mark.model, pytest.mark.vllm, pytest.mark.long]

ANSWERS = ("Paris is the capital of France.", "Bananas are yellow.", "London.", "")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with vllm_server() as base_url:
        yield base_url


@pytest.fixture
def settings(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    return {"model": NAME, "provider_config": {"base_url": url}, "max_tokens": 300}


def group() -> Group:
    asked = Prompt("p", ({"role": "user", "content": "What is the capital of France?"},), reference="It is Paris.")
    return Group(asked, (1,), tuple(Completion(text, (1,)) for text in ANSWERS), "base", Sampling())


def test_verdicts_are_held_to_their_schema(settings: dict[str, object]) -> None:
    judge = LlmJudge(LlmConfig(**settings), RunContext())  # type: ignore[arg-type]
    [scores] = judge.score([group()])
    assert [score.status for score in scores] == ["scored"] * 4
    for score in scores[:3]:
        assert set(json.loads(score.raw)) == {"reasons", "responsive", "correct", "clear"}
        assert score.tokens > 100
        assert score.latency > 0
    assert scores[3].value == 0.0


def test_expected_values_come_from_the_first_token(settings: dict[str, object]) -> None:
    judge = LlmJudge(LlmConfig(**settings, score="expected"), RunContext())  # type: ignore[arg-type]
    [scores] = judge.score([group()])
    assert [score.status for score in scores] == ["scored"] * 4
    assert len({score.value for score in scores[:3]}) == 3  # finer than levels
    again = LlmJudge(LlmConfig(**settings, score="expected", cache=False), RunContext())  # type: ignore[arg-type]
    assert [s.value for s in again.score([group()])[0]] == pytest.approx([s.value for s in scores], abs=0.05)


def test_comparisons_and_rankings_can_be_read(settings: dict[str, object]) -> None:
    pairwise = PairwiseJudge(PairwiseConfig(**settings), RunContext())  # type: ignore[arg-type]
    [scores] = pairwise.score([group()])
    assert {score.status for score in scores} == {"scored"}
    assert scores[3].label == "loss"
    figures = pairwise.figures()
    assert (figures["questions"], figures["unanswered"]) == (6, 0)
    ranking = RankJudge(RankConfig(**settings), RunContext())  # type: ignore[arg-type]
    [ranked] = ranking.score([group()])
    scored = [score for score in ranked if score.status == "scored"]
    assert len(scored) in (0, 4)  # it may name an answer twice, three times
    assert all("twice" in score.explanation for score in ranked if score not in scored)
