"""Evaluations as logs of inspect_ai, read back by that library."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli.app import cli
from harness.errors import ConfigError, HarnessError
from harness.evaluations import Evaluation, find_evaluation
from harness.inspect_logs import export_logs
from harness.records import write_groups, write_json
from harness.types import (
    Completion,
    EvalReport,
    FinishReason,
    Group,
    ItemResult,
    Prompt,
    Sampling,
    Score,
    ScoredGroup,
    SuiteReport,
)

TOOLS = '[{"name": "f", "parameters": {}}]'
SAMPLING = Sampling(temperature=0.5, max_tokens=7)
REWARDS = ((1.0, 1.0), (0.0, 1.0), (0.5, 0.0), (1.0, None))
"""Of four items in three clusters, two epochs each."""


def group(number: int, rewards: Sequence[float | None]) -> ScoredGroup:
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": f"q{number}"})
    prompt = Prompt(
        f"i{number}", messages, TOOLS, '{"answers": ["yes"]}', "yes" if number else None, cluster=f"c{number // 2}",
        metadata={"category": "easy"},
    )  # fmt: skip
    finish: list[FinishReason] = ["stop", "length"]
    completions = tuple(Completion(f"a{number}{e}", (1, 2, 3), None, finish[e]) for e in range(2))
    scores = tuple(
        (
            Score("exact", r, label="ok", explanation="it is") if r is not None else Score.failed("exact", "no reply"),
            Score("length", 1.0, raw="short", tokens=4) if number else Score.abstained("length", "no words"),
        )
        for r in rewards
    )
    return ScoredGroup(Group(prompt, (1,) * 5, completions, "v1", SAMPLING, "vllm"), scores, tuple(rewards))


@pytest.fixture
def inspect_log() -> Any:
    return pytest.importorskip("inspect_ai.log")


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    """Of an adapter, on two suites."""
    folder = tmp_path / "evals" / "mine"
    folder.mkdir(parents=True)
    groups = [group(number, rewards) for number, rewards in enumerate(REWARDS)]
    items = tuple(ItemResult(g.group.prompt.id, g.group.prompt.hash, g.group.prompt.cluster, None) for g in groups)
    reports = []
    for name in ("greet", "tool calls"):
        write_groups(folder / f"{name.replace(' ', '-')}.parquet", groups)
        reports.append(SuiteReport(name, "target", f"{name}-fingerprint", items, judging={"judge/exact/failed": 0.125}))
    report = EvalReport("v1", tuple(reports))
    write_json(folder / "report.json", report)
    return Evaluation("mine", (folder,), report, model="org/model")


@pytest.mark.parametrize("form", ["eval", "json"])
def test_inspect_reads_back_what_was_evaluated(
    inspect_log: Any, evaluation: Evaluation, tmp_path: Path, form: Any
) -> None:
    export_logs(evaluation, tmp_path / "logs", format=form)
    infos = inspect_log.list_eval_logs(str(tmp_path / "logs"))
    assert sorted(info.task for info in infos) == ["greet", "tool-calls"]
    log = inspect_log.read_eval_log(min(infos, key=lambda info: info.task))
    assert (log.status, log.eval.task, log.eval.model) == ("success", "greet", "org/model")
    assert log.eval.model_args == {"adapter": "v1"}
    assert (log.eval.dataset.samples, log.eval.config.epochs, log.results.total_samples) == (4, 2, 8)
    assert (log.plan.config.temperature, log.plan.config.max_tokens) == (0.5, 7)
    assert log.eval.metadata["judging"] == {"judge/exact/failed": 0.125}

    samples = {(sample.id, sample.epoch): sample for sample in log.samples}
    assert set(samples) == {(f"i{number}", epoch) for number in range(4) for epoch in (1, 2)}
    sample = samples["i2", 2]
    assert [(m.role, m.text) for m in sample.messages] == [
        ("system", "Be brief."), ("user", "q2"), ("assistant", "a21"),
    ]  # fmt: skip
    assert (sample.output.completion, sample.output.stop_reason, sample.output.usage.output_tokens) == (
        "a21", "max_tokens", 3,
    )  # fmt: skip
    assert [sample.target, samples["i0", 1].target] == ["yes", '{"answers": ["yes"]}']
    assert sample.metadata["tools"] == json.loads(TOOLS)
    assert (sample.metadata["category"], sample.metadata["cluster"]) == ("easy", "c1")
    for (id, epoch), one in samples.items():
        expected = REWARDS[int(id[1])][epoch - 1]
        value = one.scores["reward"].value
        assert value == expected if expected is not None else math.isnan(value)
        assert one.scores["exact"].value == pytest.approx(value, nan_ok=True)


def test_metrics_are_of_items_and_what_is_unscored_counts_for_nothing(
    inspect_log: Any, evaluation: Evaluation, tmp_path: Path
) -> None:
    [file, _] = export_logs(evaluation, tmp_path / "logs")
    log = inspect_log.read_eval_log(str(file))
    scores = {score.name: score for score in log.results.scores}
    assert list(scores) == ["reward", "exact", "length"]
    reward = scores["reward"]
    assert (reward.scored_samples, reward.unscored_samples, reward.reducer) == (3, 1, "mean")
    # Items 1.0, 0.5 in one cluster and 0.25 in another; the fourth has an epoch without a score.
    mean = 1.75 / 3
    within, beside = (1.0 - mean) + (0.5 - mean), 0.25 - mean
    assert reward.metrics["accuracy"].value == pytest.approx(mean)
    assert reward.metrics["stderr"].value == pytest.approx(math.sqrt(2 * (within**2 + beside**2)) / 3)
    assert scores["length"].metrics["accuracy"].value == 1.0
    assert (scores["length"].scored_samples, scores["length"].unscored_samples) == (3, 1)
    failed = next(s for s in log.samples if (s.id, s.epoch) == ("i3", 2)).scores["exact"]
    assert (failed.reason, failed.explanation) == ("scoring_failed", "no reply")
    abstained = log.samples[0].scores["length"]
    assert (abstained.reason, math.isnan(abstained.value)) == ("abstained", True)
    kept = next(s for s in log.samples if s.id == "i1").scores
    assert kept["exact"].metadata == {"label": "ok"}
    assert kept["length"].metadata == {"raw": "short", "tokens": 4}


def test_the_same_evaluation_gives_the_same_log(inspect_log: Any, evaluation: Evaluation, tmp_path: Path) -> None:
    def read(out: str) -> tuple[str, Any]:
        [file, _] = export_logs(evaluation, tmp_path / out)
        log = inspect_log.read_eval_log(str(file))
        for message in [m for sample in log.samples for m in (*sample.messages, *sample.input, sample.output.message)]:
            message.id = None  # drawn by inspect
        return file.name, log.model_dump(exclude={"location"})

    (name, first), (again, second) = read("a"), read("b")
    assert name == again
    assert repr(first) == repr(second)  # NaN is not equal to itself


def test_on_the_command_line(inspect_log: Any, evaluation: Evaluation, tmp_path: Path) -> None:
    found = find_evaluation("mine", evals=tmp_path / "evals")
    assert found.report == evaluation.report
    arguments = ["export-log", "mine", "--evals", str(tmp_path / "evals"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, [*arguments, "--model", "ours", "--json"], catch_exceptions=False)
    files = json.loads(done.output)
    assert sorted(files) == sorted(map(str, (tmp_path / "out").iterdir()))
    assert [inspect_log.read_eval_log(file, header_only=True).eval.model for file in files] == ["ours", "ours"]
    with pytest.raises(ConfigError, match="it is there already"):
        CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_without_the_library_nothing_is_written(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    with pytest.raises(HarnessError, match=r"inspect_ai is not installed.*harness-align\[inspect\]"):
        export_logs(evaluation, tmp_path / "logs")
    assert not (tmp_path / "logs").exists()
