"""A server that fails in every way: no verdict is lost, none is counted as 0, none is paid for twice."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from llm_server import FAULTS, READ, WRITTEN, Body, completed, question, serve

from harness.cli.app import cli
from harness.errors import ConfigError, JudgeFailure
from harness.judging import Bench
from harness.protocols import RunContext
from harness.records import write_groups
from harness.replies import ReplyStore
from harness.rewards import JudgingConfig
from harness.types import Completion, Group, Prompt, Sampling
from harness_judges.llm.pairwise import PairwiseJudge
from harness_judges.llm.pointwise import LlmJudge
from harness_judges.llm.settings import LlmConfig, PairwiseConfig

PRICES = {"input_price": 2.0, "output_price": 10.0}
PRICE = (2.0 * READ + 10.0 * WRITTEN) / 1e6
VERDICTS = {"good": ("yes", "yes", "yes"), "fair": ("partly", "partly", "no"), "bad": ("no", "no", "no")}
LENIENT = JudgingConfig(max_failed=1.0)
VALUES = {"good": 1.0, "fair": 0.4, "bad": 0.0}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    return tmp_path / "cache" / "replies.sqlite"


def groups(count: int, per_group: int = 4) -> list[Group]:
    """Answers that say how good they are, each different."""
    kinds = list(VALUES)
    return [
        Group(
            Prompt(f"p{start}", ({"role": "user", "content": f"say {start}"},)),
            (1,),
            tuple(Completion(f"{kinds[i % 3]} {i}", (1,)) for i in range(start, start + per_group)),
            "base",
            Sampling(),
        )
        for start in range(0, count, per_group)
    ]


def say(body: Body) -> str:
    """The verdict on the answer within the question."""
    kind = next(kind for kind in VALUES if f"\n{kind} " in question(body))
    return json.dumps({"reasons": "so", **dict(zip(("responsive", "correct", "clear"), VERDICTS[kind], strict=True))})


def slowly(body: Body) -> str:
    time.sleep(0.03)
    return say(body)


def judge(url: str, **server: Any) -> LlmJudge:
    os.environ["OPENAI_BASE_URL"] = url  # each server has a port of its own, and a moved one is the same one
    given = {"timeout": 3.0, "retries": 4, "concurrency": 64, **PRICES, **server}
    return LlmJudge(LlmConfig(model="m", provider_config=given, attempts=4), RunContext())


def test_a_thousand_judgements_by_a_server_that_fails_in_every_way(cache: Path) -> None:
    faults = {name: 0.6 if name == "ok" else 0.05 for name in FAULTS}
    asked = groups(1000)
    with serve(say, faults=faults, hang=4.0) as server:
        made = judge(server.url)
        scored = Bench({"llm": made}, {"llm": 1.0}).score(asked)
        assert set(server.served) == set(FAULTS)
    scores = [(c.text.split()[0], s[0]) for g in scored for c, s in zip(g.group.completions, g.scores, strict=True)]
    assert len(scores) == 1000
    failed = [score for _, score in scores if score.status == "failed"]
    assert len(failed) < 20  # four attempts of five tries
    assert all(score.value is None and score.explanation for score in failed)
    assert all(score.value == pytest.approx(VALUES[kind]) for kind, score in scores if score.status == "scored")
    rewards = [reward for group in scored for reward in group.rewards]
    assert rewards.count(None) == len(failed)
    # The ledger: what the server billed is what the scores, the store and the judge's own figures say.
    bill = sum(server.billed.values())
    assert math.isclose(sum(score.cost for _, score in scores), bill * PRICE)
    assert sum(score.tokens for _, score in scores) == bill * (READ + WRITTEN)
    [spent] = ReplyStore(cache).spent()
    assert (spent.judge, spent.model, spent.replies) == ("llm", "m", bill)
    assert math.isclose(spent.cost, bill * PRICE)
    figures = made.figures()
    assert (figures["questions"], figures["unanswered"], figures["replies"]) == (1000, len(failed), bill)
    assert figures["retries"] > 100
    assert figures["unreadable"] == bill - (1000 - len(failed))

    with serve(say) as server:  # another process's judge: everything is known but what failed
        again = judge(server.url).score(asked)
        assert sum(server.billed.values()) == len(failed) > 0
    assert all(score.status == "scored" for scores in again for score in scores)


CHILD = """
import sys
sys.path[:0] = [{tests!r}, {here!r}]
from test_llm_faults import groups, judge
judge({url!r}, concurrency=8).score(groups(400))
"""


def test_a_killed_judge_goes_on_without_paying_twice(cache: Path) -> None:
    here = Path(__file__).parent
    faults = {"ok": 0.9, "prose": 0.05, "429": 0.05}
    with serve(slowly, faults=faults) as server:
        code = CHILD.format(tests=str(here.parent), here=str(here), url=server.url)
        for share in (0.25, 0.5):
            child = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"OMP_NUM_THREADS": "1"})
            while sum(server.billed.values()) < share * 400:
                assert child.poll() is None
                time.sleep(0.01)
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        verdicts = judge(server.url, concurrency=8).score(groups(400))
        kept = ReplyStore(cache).spent()[0].replies
        bill = Counter(server.billed)
    assert all(score.status == "scored" for scores in verdicts for score in scores)
    assert sum(bill.values()) - kept <= 2 * 8  # no more than was under way when it was killed


@pytest.mark.parametrize(
    "changes",
    [
        {"usage": {}},
        {"usage": {"prompt_tokens": None, "completion_tokens": None}},
        {"usage": "x"},
        {"choices": [None]},
        {"choices": ["hi"]},
        {"choices": {"a": 1}},
        {"choices": [{"message": "hi"}]},
        {"choices": [{"message": {"content": [{"type": "text", "text": "hi"}]}}]},
        {"choices": [{"message": {"content": "[" * 5000}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": "half a character \ud83d"}, "finish_reason": "stop"}]},
    ],
    ids=str,
)
def test_whatever_a_server_sends_is_a_verdict_or_none(changes: dict[str, Any], tmp_path: Path) -> None:
    """And what came of it can be stored, and read again by the next judge."""
    with serve(lambda body: {**completed(say(body), body), **changes}, whole=True) as server:
        for _ in range(2):
            [scored] = Bench({"llm": judge(server.url, retries=0)}, {"llm": 1.0}, limits=LENIENT).score(groups(1, 1))
            assert (scored.rewards[0] is None) != ("usage" in changes)
            write_groups(tmp_path / "groups.parquet", [scored])


def test_comparing_after_scoring_asks_nothing_again_even_of_what_failed() -> None:
    given = {"model": "m", "attempts": 3, "against": "siblings", "provider_config": PRICES}
    with serve(lambda body: "no verdict") as server:
        os.environ["OPENAI_BASE_URL"] = server.url
        pairwise = PairwiseJudge(PairwiseConfig(**given), RunContext())
        [scored] = Bench({"llm_pairwise": pairwise}, {"llm_pairwise": 1.0}, ["llm_pairwise"], LENIENT).score(
            groups(2, 2)
        )
        assert sum(server.billed.values()) == 6
    assert scored.preferences == ()
    assert math.isclose(sum(scores[0].cost for scores in scored.scores), 6 * PRICE)


def test_equal_answers_are_judged_once() -> None:
    [group] = groups(4)
    same = Group(group.prompt, (1,), (Completion("good 1", (1,)),) * 3, "base", Sampling())
    with serve(say) as server:
        [scores] = judge(server.url).score([same])
        assert sum(server.billed.values()) == 1
    assert [score.value for score in scores] == [1.0] * 3
    assert [score.tokens for score in scores] == [READ + WRITTEN, 0, 0]


def test_fresh_verdicts_are_asked_for_anew_and_stay_on_the_books(cache: Path) -> None:
    with serve(say) as server:
        made = judge(server.url)
        made.score(groups(8))
        anew = LlmJudge(made.config, RunContext(fresh_verdicts=True))
        assert [s.value for g in anew.score(groups(8)) for s in g] == [
            s.value for g in made.score(groups(8)) for s in g
        ]
        assert sum(server.billed.values()) == ReplyStore(cache).spent()[0].replies == 16


def test_too_many_failures_stop_the_round_and_keep_what_was_paid(cache: Path) -> None:
    with serve(say, faults={"ok": 0.5, "prose": 0.5}) as server:
        made = LlmJudge(LlmConfig(model="m", provider_config={"base_url": server.url}, attempts=1), RunContext())
        with pytest.raises(JudgeFailure, match=r"verdicts failed, the first with: the reply is not JSON"):
            Bench({"llm": made}, {"llm": 1.0}).score(groups(100))
    assert ReplyStore(cache).spent()[0].replies == 100


def test_a_server_that_is_down_or_refuses_is_said_at_once() -> None:
    with serve(say) as server:
        url = server.url
    with pytest.raises(JudgeFailure, match=r"4 requests in a row came to nothing.*See whether the server runs"):
        judge(url, retries=0, concurrency=2).score(groups(100))


def test_a_server_of_others_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="the environment has no OPENAI_API_KEY"):
        LlmJudge(LlmConfig(model="m"), RunContext())
    with pytest.raises(ConfigError, match=r"judge llm, provider_config: unknown key 'base_ulr'.*base_url"):
        LlmJudge(LlmConfig(model="m", provider_config={"base_ulr": "x"}), RunContext())


def test_limits_are_kept() -> None:
    with serve(slowly) as server:
        judge(server.url, concurrency=3).score(groups(24))
        assert server.most_at_once == 3
    with serve(say) as server:
        started = time.monotonic()
        judge(server.url, requests_per_minute=600).score(groups(400)[-3:])
        assert time.monotonic() - started >= 1.1  # 12 requests, one every tenth of a second


def test_the_ledger_can_be_looked_at(cache: Path) -> None:
    with serve(say) as server:
        judge(server.url).score(groups(12))
    shown = CliRunner().invoke(cli, ["judge", "costs", "--json"])
    [row] = json.loads(shown.output)
    assert (row["judge"], row["model"], row["replies"], row["tokens"]) == ("llm", "m", 12, 12 * (READ + WRITTEN))
    assert math.isclose(row["cost"], 12 * PRICE)
