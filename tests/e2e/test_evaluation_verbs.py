"""The command line over stored evaluations: compare, gate, bless, power."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from stored_evaluations import store, suite_report
from tiny import write_suite

from harness.cli.app import main
from harness.gate import GateConfig, gate
from harness.records import read_report


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ran]


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_BLESSED", raising=False)

    def run(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(["-q", *arguments])
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 300 items `old` has 100 right and `new` 160 of which 90 are the same; `worse` loses 60; on `r` nothing much
    changes. `longer` answers as `old` does, in more words."""
    folder, draw = tmp_path_factory.mktemp("made"), random.Random(0)

    def scores(base: list[int], gained: int, lost: int) -> list[float]:
        right, wrong = ([i for i, score in enumerate(base) if score == value] for value in (1, 0))
        flip = {*draw.sample(wrong, gained), *draw.sample(right, lost)}
        return [float(1 - score if i in flip else score) for i, score in enumerate(base)]

    base = [1] * 100 + [0] * 200
    beside = [1] * 200 + [0] * 100
    for name, (gained, lost), kept in (
        ("old", (0, 0), (0, 0)),
        ("new", (70, 10), (3, 3)),
        ("worse", (0, 60), (0, 0)),
        ("same", (8, 8), (2, 2)),
        ("longer", (0, 0), (0, 0)),
    ):
        target = suite_report("t", scores(base, gained, lost))
        other = suite_report("r", scores(beside, *kept), role="regression")
        answers = " in more words" if name == "longer" else ""
        store(folder / name, target, other, policy=name, answers=answers)
    return folder


@pytest.fixture
def evals(tmp_path: Path, made: Path) -> Path:
    """A copy of them, to write beside."""
    return Path(shutil.copytree(made, tmp_path / "evals"))


# ---------------------------------------------------------------- compare


def test_two_are_compared_by_suite_and_slice(harness: Command, evals: Path) -> None:
    ran = harness("compare", "old", "new", "--json")
    assert ran.code == 0, ran.err
    target, beside = ran.json["suites"]
    assert (target["suite"], beside["suite"]) == ("t", "r")
    assert (target["whole"]["wins"], target["whole"]["ties"], target["whole"]["losses"]) == (70, 220, 10)
    assert target["whole"]["interval"]["estimate"] == pytest.approx(60 / 302)
    assert sum(part["wins"] for part in target["slices"]) == 70
    shown = harness("compare", "evals/old", "new", "--suite", "t", "--examples", "2")
    assert shown.out.startswith("t: new is better than evals/old by 19.9 points (95% sure: between +14.4 and +25.3")
    assert "70/220/10" in shown.out
    assert shown.out.count("evals/old: 0.00 wrong  0.0") == 2
    assert "\nr:" not in shown.out


def test_three_are_put_in_order(harness: Command, evals: Path) -> None:
    ran = harness("compare", "worse", "new", "old", "--suite", "t")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0].startswith("t: new > old > worse")
    record = harness("compare", "worse", "new", "old", "--suite", "t", "--json").json["suites"][0]
    assert [s["name"] for s in record["strengths"]] == ["new", "old", "worse"]
    assert record["clear"] == [True, True]
    assert record["chances"]["new"]["old"][0] > 0.5


def test_a_judge_compares_in_both_orders_and_at_equal_length(harness: Command, evals: Path, tmp_path: Path) -> None:
    """A judge of length prefers `longer` everywhere, whose answers differ from the others in nothing else."""
    (tmp_path / "rewards.py").write_text(
        "def longest(prompts, completions, **columns):\n"
        "    return [min(1.0, len(text if isinstance(text, str) else text[-1]['content']) / 100)"
        " for text in completions]\n"
    )
    arguments = ["--judge", "function", "--set", "path=rewards.py", "--set", "name=longest", "--suite", "r"]
    ran = harness("compare", "old", "longer", *arguments, "--json")
    assert ran.code == 0, ran.err
    rate = ran.json["suites"][0]["win_rate"]
    assert (rate["rate"]["estimate"], rate["longer"], rate["order_flips"], rate["unscored"]) == (1.0, 1.0, 0.0, 0)
    assert (rate["at_equal_length"], rate["length_effect"]) == (None, None)
    always = harness("compare", "old", "longer", *arguments)
    assert "r: function prefers longer to old in 100.0% of 300 pairs; longer's answers are always" in always.out
    same = harness("compare", "old", "same", *arguments)
    assert same.code == 0, same.err
    assert "if the answers were equally long" in same.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["old", "old"], "old is named twice"),
        (["old", "nowhere"], "no evaluation 'nowhere'"),
        (["old", "other"], "4 items are in both, 296 and 0 in one; 1 and 2 epochs"),
        (["old", "new", "--suite", "x"], "not all evaluations have suite 'x'"),
        (["old", "new", "--alpha", "0.6"], "no one-sided level"),
        (["old", "new", "same", "--judge", "exact"], "--judge and --examples are of two"),
        (["old", "new", "--set", "a=1"], "Add --judge NAME"),
        (["old", "new", "--common", "--judge", "exact"], "measured alike"),
        (["old", "new", "--round", "1"], "--round says nothing of evaluations"),
        (["old", "evals", "--common"], "--common says nothing of a run's adapters"),
    ],
)
def test_what_cannot_be_compared_is_refused(harness: Command, evals: Path, arguments: list[str], says: str) -> None:
    store(evals / "other", suite_report("t", [1, 0, 1, 0], fingerprint="other", epochs=[(1, 1)] * 4))
    ran = harness("compare", *arguments)
    assert (ran.code, ran.out) == (3, "")
    assert says in ran.err


def test_common_items_are_compared_and_it_is_said(harness: Command, evals: Path) -> None:
    store(evals / "few", suite_report("t", [0, 0, 0, 0], fingerprint="limited"))
    ran = harness("compare", "old", "few", "--common")
    assert ran.code == 0, ran.err
    assert "0/0/4" in ran.out
    assert "Left out: suite r, which only old has." in ran.out
    assert "is not put right" in ran.out


# ---------------------------------------------------------------- bless and gate


def test_the_exit_code_is_the_gates_outcome(harness: Command, evals: Path, tmp_path: Path) -> None:
    nothing = harness("gate", "new")
    assert nothing.code == 3
    assert "nothing is blessed as 'main'" in nothing.err
    assert "harness bless EVALUATION" in nothing.err
    blessed = harness("bless", "old", "--reason", "first")
    assert blessed.code == 0, blessed.err
    reports = {name: read_report(evals / name / "report.json") for name in ("old", "new", "worse", "same")}
    for name, code in (("new", 0), ("worse", 1), ("same", 2)):
        ran = harness("gate", name, "--json")
        assert ran.code == code, ran.err
        by_hand = gate(reports["old"], reports[name], reports["old"], GateConfig(looks=1))
        assert (ran.json["outcome"], ran.json["sentence"]) == (by_hand.outcome, by_hand.sentence)
    shown = harness("gate", "new", "--markdown", "comment.md")
    assert shown.out.startswith("Promoted: +19.9 points on t")
    assert "regression r vs anchor" in shown.out
    comment = (tmp_path / "comment.md").read_text().splitlines()
    assert comment[0].startswith("**new**: Promoted")
    assert len([line for line in comment if line.startswith("| ")]) == 2 + 3
    assert harness("gate", "same", "--rule", "hold").code == 0
    assert harness("gate", "new", "--min-gain", "0.3").code == 1
    assert harness("gate", "old", "--incumbent", "worse").code == 0


def test_margins_and_roles_are_what_was_blessed(harness: Command, evals: Path) -> None:
    """A candidate whose own suite has a wider margin passes by that of the incumbent, or not at all."""
    scores = [item.score for item in read_report(evals / "old" / "report.json").suites[0].items]
    loose = suite_report("t", [*[0.0] * 40, *scores[40:]], margin=0.5, role="monitor")
    beside = suite_report("r", [1] * 200 + [0] * 100, role="regression")
    store(evals / "loose", loose, beside)
    harness("bless", "old")
    ran = harness("gate", "loose", "--rule", "hold")
    assert ran.code == 1, ran.err
    assert "t: the candidate's margin of 0.5 is not used, but the incumbent's of 0.05" in ran.out


def test_the_target_can_be_named_and_the_other_must_hold(harness: Command, evals: Path) -> None:
    store(evals / "both", *(suite_report(n, [1] * 100 + [0] * 200, role="target") for n in "tr"))
    store(
        evals / "t-up",
        suite_report("t", [1] * 200 + [0] * 100, role="target"),
        suite_report("r", [1] * 100 + [0] * 200, role="target"),
    )
    store(
        evals / "r-down",
        suite_report("t", [1] * 200 + [0] * 100, role="target"),
        suite_report("r", [0] * 300, role="target"),
    )
    unclear = harness("gate", "t-up", "--incumbent", "both")
    assert unclear.code == 3
    assert "a gate has one target, and the suites with that role are: t, r" in unclear.err
    assert harness("gate", "t-up", "--incumbent", "both", "--target", "t").code == 0
    assert harness("gate", "r-down", "--incumbent", "both", "--target", "t").code == 1
    assert "no suite 'x'" in harness("gate", "t-up", "--incumbent", "both", "--target", "x").err


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (suite_report("t", [1] * 300, fingerprint="changed"), "suite t has changed"),
        (suite_report("t", [1] * 299), "does not hold the same items"),
        (suite_report("t", [None] * 9 + [1.0] * 291), "only 291 of 300 items of t are scored"),
    ],
)
def test_what_cannot_be_held_against_what_is_blessed_is_invalid(
    harness: Command, evals: Path, other: Any, says: str
) -> None:
    store(evals / "other", other, suite_report("r", [1] * 300, role="regression"))
    harness("bless", "old")
    ran = harness("gate", "other", "--json", "--markdown", "comment.md")
    assert ran.code == 3
    assert says in ran.err
    assert ran.json["outcome"] == "invalid"
    assert says in Path("comment.md").read_text()


def test_too_few_items_for_a_margin_are_no_gate(harness: Command, evals: Path) -> None:
    """30 items reach 0.0755 when none differs: sqrt(2 * 32/31) / 32 * 1.6955. They cannot show a margin of 0.05."""
    for name, right in (("before", 10), ("after", 25)):
        target = suite_report("t", [1] * right + [0] * (30 - right))
        store(evals / name, target, suite_report("r", [1] * 30, role="regression"))
    ran = harness("gate", "after", "--incumbent", "before")
    assert (ran.code, ran.out) == (3, "")
    assert "suite r: 30 items in 30 clusters can show no margin under 0.076, and its margin is 0.05" in ran.err
    assert "harness power" in ran.err


def test_blessing_over_another_shows_what_changes(harness: Command, evals: Path) -> None:
    assert "blessed as main in blessed/main, by" in harness("bless", "old").out
    again = harness("bless", "new", "--reason", "better")
    assert again.code == 0
    assert "policy old is now new" in again.out
    assert "t 33.3% is now 53.3%" in again.out
    assert "r " not in again.out.partition("t 33.3%")[0]
    assert "nothing changes" in harness("bless", "new").out
    listed = harness("bless", "--list", "--json").json
    assert [(b["name"], b["evaluation"]) for b in listed] == [("main", "new")]
    assert "t 53.3%, r 66.7%" in harness("bless", "--list").out
    assert len(Path("blessed/main/history.jsonl").read_text().splitlines()) == 3
    Path("blessed/main/report.json").write_text("{}")
    assert harness("gate", "new").code == 3
    assert harness("bless", "new").code == 0
    assert harness("gate", "new", "--rule", "hold").code == 0
    assert harness("bless").code == 3
    assert harness("bless", "new", "--list").code == 3


def test_what_is_blessed_can_lie_elsewhere(harness: Command, evals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_BLESSED", "kept/here")
    harness("bless", "old", "--name", "stable")
    assert Path("kept/here/stable/report.json").is_file()
    assert harness("gate", "new", "--incumbent", "stable").code == 0
    assert harness("compare", "kept/here/stable", "new").code == 0
    assert (
        "it keeps no completions of suite t, only scores"
        in harness("compare", "kept/here/stable", "new", "--examples", "1").err
    )
    assert harness("bless", "--list", "--blessed", "nowhere").out.startswith("Nothing is blessed in nowhere")


# ---------------------------------------------------------------- power


def test_power_says_what_a_suite_can_show(harness: Command, tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "letters", items=200)
    ran = harness("power", str(folder), "--json", "--discordant", "0.2", "--gain", "0.1")
    assert ran.code == 0, ran.err
    [found] = ran.json
    assert (found["design"]["n"], found["design"]["clusters"]) == (200, 200)
    assert found["smallest_margin"] == pytest.approx(0.01158, abs=1e-4)  # sqrt(2 * 202/201) / 202 * 1.6525
    assert found["sources"] == {"discordant": "given", "noise": "assumed", "icc": "assumed"}
    assert found["margin_shown"]["0.8"] < found["margin_shown"]["0.9"]
    assert 0.8 < found["gain_power"] < 1
    assert [cell["n"] for cell in found["grid"]] == [n for n in (50, 100, 200, 400, 800, 1600) for _ in range(4)]
    [own] = [cell for cell in found["grid"] if (cell["n"], cell["epochs"]) == (200, 1)]
    assert own["gain_found"] == found["gain_found"]["0.8"]
    shown = harness("power", str(folder), "--n", "20", "--margin", "0.05")
    assert "So no candidate can pass the margin of 5.0 points" in shown.out
    assert "20 items in 20 clusters" in shown.out
    assert harness("power", "--n", "500").code == 0
    assert "no suite is named" in harness("power").err


def test_power_takes_the_flips_from_stored_evaluations(harness: Command, evals: Path, tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "t", items=300)
    [found] = harness("power", str(folder), "--evaluation", "old", "--evaluation", "new", "--json").json
    assert found["design"]["discordant"] == pytest.approx(80 / 300)
    assert found["sources"]["discordant"] == "seen"
    alone = harness("power", str(folder), "--evaluation", "old")
    assert alone.code == 3
    assert "says nothing of how often verdicts on t flip" in alone.err
    store(evals / "drawn", suite_report("t", [0.5] * 10 + [1] * 10, epochs=[(1, 0)] * 10 + [(1, 1)] * 10))
    [found] = harness("power", str(folder), "--evaluation", "drawn", "--json").json
    assert (found["design"]["discordant"], found["design"]["noise"]) == (0.5, 1.0)


@pytest.mark.parametrize("threshold", ["nan", "-5", "0", "7"])
def test_a_threshold_that_is_no_score_is_refused(harness: Command, threshold: str) -> None:
    ran = harness("report", "new", "--threshold", threshold)
    assert (ran.code, "threshold" in ran.err) == (3, True)
