"""What is blessed, kept in files that git can hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stored_evaluations import store, suite_report

from harness.blessing import bless, blessings, find_blessed, find_blessed_or_stored
from harness.errors import ConfigError, StoreError
from harness.evaluations import Evaluation, find_evaluation


@pytest.fixture
def stored(tmp_path: Path) -> Evaluation:
    return find_evaluation(str(store(tmp_path / "first", suite_report("s", [1, 0, 1, 1]), policy="v1")))


def test_what_is_blessed_is_the_report_and_how_it_came_about(tmp_path: Path, stored: Evaluation) -> None:
    done = bless(stored, reason="first release", folder=tmp_path / "blessed")
    found, evaluation = find_blessed(folder=tmp_path / "blessed")
    assert found == done
    assert (found.reason, found.policy_version, found.means) == ("first release", "v1", {"s": 0.75})
    assert found.by
    assert found.at.endswith("+00:00")
    assert evaluation.report == stored.report
    assert sorted(path.name for path in (tmp_path / "blessed" / "main").iterdir()) == [
        "blessed.json",
        "history.jsonl",
        "report.json",
    ]
    assert find_evaluation(str(tmp_path / "blessed" / "main")).report == stored.report  # `harness compare` takes it


def test_git_says_who_blessed(tmp_path: Path, stored: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Ada")
    assert bless(stored, folder=tmp_path / "blessed").by == "Ada"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "login")
    assert bless(stored, folder=tmp_path / "blessed").by == "login"


def test_the_history_keeps_what_was_blessed_over(tmp_path: Path, stored: Evaluation) -> None:
    folder = tmp_path / "blessed"
    other = find_evaluation(str(store(tmp_path / "second", suite_report("s", [1, 1, 1, 1]), policy="v2")))
    for evaluation, reason in ((stored, "one"), (other, "two"), (stored, "back")):
        bless(evaluation, reason=reason, folder=folder)
    lines = [json.loads(line) for line in (folder / "main" / "history.jsonl").read_text().splitlines()]
    assert [(line["policy_version"], line["reason"]) for line in lines] == [
        ("v1", "one"),
        ("v2", "two"),
        ("v1", "back"),
    ]
    assert find_blessed(folder=folder)[0].reason == "back"


def test_names_stand_side_by_side_and_come_before_stored_ones(tmp_path: Path, stored: Evaluation) -> None:
    folder, evals = tmp_path / "blessed", tmp_path / "evals"
    bless(stored, folder=folder)
    bless(stored, name="nightly", folder=folder)
    assert [b.name for b in blessings(folder)] == ["main", "nightly"]
    store(evals / "main", suite_report("s", [0]), policy="v9")
    store(evals / "other", suite_report("s", [0]), policy="v8")
    found = [find_blessed_or_stored(n, folder=folder, evals=evals, runs=tmp_path) for n in ("main", "other")]
    assert [evaluation.report.policy_version for evaluation in found] == ["v1", "v8"]
    assert blessings(tmp_path / "nowhere") == []


def test_a_report_that_was_changed_or_half_replaced_is_refused_until_it_is_blessed_again(
    tmp_path: Path, stored: Evaluation
) -> None:
    folder = tmp_path / "blessed"
    bless(stored, folder=folder)
    report = folder / "main" / "report.json"
    report.write_text(report.read_text().replace('"score": 0', '"score": 1', 1))
    with pytest.raises(StoreError, match="not the one that was blessed"):
        find_blessed(folder=folder)
    bless(stored, folder=folder)
    find_blessed(folder=folder)
    report.unlink()
    with pytest.raises(StoreError, match="the report is missing"):
        find_blessed(folder=folder)
    (folder / "main" / "blessed.json").write_text("{}")
    with pytest.raises(StoreError, match=r"blessed\.json is damaged"):
        find_blessed(folder=folder)


def test_what_no_gate_would_take_is_not_blessed(tmp_path: Path, stored: Evaluation) -> None:
    holes = find_evaluation(str(store(tmp_path / "holes", suite_report("s", [1, None, 1]))))
    with pytest.raises(ConfigError, match="only 2 of 3 items of s are scored"):
        bless(holes, folder=tmp_path / "blessed")
    with pytest.raises(ConfigError, match=r"no name for a folder. Take 'a-b'"):
        bless(stored, name="a/b", folder=tmp_path / "blessed")
    with pytest.raises(StoreError, match="nothing is blessed as 'main'"):
        find_blessed(folder=tmp_path / "blessed")
    assert not (tmp_path / "blessed").exists()
