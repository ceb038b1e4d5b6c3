from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from evaluated import item, scored, write_evaluation

from harness.evaluations import Evaluation, find_evaluation
from harness.reports import render
from harness.summary import changed, summarize
from harness.types import SuiteReport

GROUPS = [
    scored("right", 1.0, 1.0, slice="easy"),
    scored("wrong", 0.0, 0.0, slice="hard", text="a | pipe & <tag>\nwith a \x00 and a \x1b[31m"),
    scored("half", 1.0, 0.0, slice="hard"),
    scored("no verdict", None, None, slice="easy"),
    scored("no judge", None, None, slice="easy", failed=True),
]


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    write_evaluation(tmp_path / "e", GROUPS)
    return find_evaluation("e", evals=tmp_path)


def test_junit_counts_what_is_in_it(evaluation: Evaluation) -> None:
    root = ET.fromstring(render(evaluation, "junit"))
    [suite] = root
    assert (root.tag, suite.tag, suite.get("name")) == ("testsuites", "testsuite", "letters")
    cases = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert cases == {
        "right": [],
        "wrong": ["failure"],
        "half": ["failure"],
        "no verdict": ["skipped"],
        "no judge": ["error"],
    }
    for element in (root, suite):
        assert [element.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["5", "2", "1", "1"]
    assert [case.get("classname") for case in suite.iter("testcase")][:2] == ["letters.easy", "letters.hard"]


def test_junit_says_why_and_how_much(evaluation: Evaluation) -> None:
    root = ET.fromstring(render(evaluation, "junit"))
    failure = root.find(".//testcase[@name='wrong']/failure")
    assert failure is not None
    assert failure.get("message") == "score 0: wrong"
    assert failure.text is not None
    assert "a | pipe & <tag>" in failure.text
    assert "\ufffd[31m" in failure.text
    assert "expected: gold" in failure.text
    properties = {p.get("name"): p.get("value") for p in root.iter("property")}
    assert float(properties["mean"] or 0) == 0.5
    assert float(properties["lower"] or 0) < 0.5 < float(properties["upper"] or 0)
    assert float(properties["pass@2"] or 0) == pytest.approx(2 / 3, rel=1e-5)


def test_a_lower_threshold_fails_fewer(evaluation: Evaluation) -> None:
    [suite] = ET.fromstring(render(evaluation, "junit", threshold=0.5))
    assert suite.get("failures") == "1"


def test_markdown_tables_are_whole(evaluation: Evaluation) -> None:
    text = render(evaluation, "markdown", worst=3)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    header = next(row for row in rows if "worst items" in row)
    worst = rows[rows.index(header) + 2 :]
    assert [row.split(" | ")[0] for row in worst] == ["| no judge", "| no verdict", "| wrong"]
    assert all(row.replace("\\|", "").count("|") == header.count("|") for row in worst)
    assert "a \\| pipe & \\<tag\\> with a" in worst[2]
    suite = next(row for row in rows if row.startswith("| letters"))
    assert suite.startswith("| letters | target | 5 | 2 | 5 | 50.0% | \\[")
    assert any(row.startswith("| easy | 3 | 2 | 3 | 100.0% |") for row in rows)
    assert any(row.startswith("| hard | 2 | 0 | 2 | 25.0% |") for row in rows)


def test_json_has_the_record_and_its_figures(evaluation: Evaluation) -> None:
    record = json.loads(render(evaluation, "json"))
    assert record["means"] == {"letters": 0.5}
    assert [part["name"] for part in record["figures"]["letters"]["slices"]] == ["easy", "hard"]
    assert [row["k"] for row in record["figures"]["letters"]["passing"]] == [1, 2]
    assert [item["id"] for item in record["report"]["suites"][0]["items"]] == [g.group.prompt.id for g in GROUPS]
    assert [row["id"] for row in record["worst"]["letters"]] == ["no judge", "no verdict", "wrong", "half"]


@pytest.mark.parametrize("form", ["json", "junit", "markdown"])
def test_equal_evaluations_give_equal_text(tmp_path: Path, form: str) -> None:
    for folder in ("a", "b"):
        write_evaluation(tmp_path / folder / "e", GROUPS)
    a, b = (find_evaluation(str(tmp_path / folder / "e")) for folder in ("a", "b"))
    assert render(a, form) == render(b, form)


def test_slices_and_figures_by_hand() -> None:
    summary = summarize(SuiteReport("s", "target", "f", tuple(map(item, GROUPS))))
    assert (summary.whole.items, summary.whole.unscored, summary.whole.clusters) == (5, 2, 5)
    assert summary.whole.labels[0] == ("ok", 3)
    easy, hard = summary.slices
    assert easy.score is not None
    assert (easy.items, easy.score.mean, easy.score.error) == (3, 1.0, None)
    assert hard.score is not None
    assert hard.score.error == pytest.approx(0.25)


def test_what_changed_counts_only_items_that_are_scored_twice() -> None:
    before = [item(scored("a", 0.0)), item(scored("b", 1.0)), item(scored("c", 1.0)), item(scored("d", None))]
    after = [item(scored("b", 1.0)), item(scored("a", 1.0)), item(scored("c", None)), item(scored("d", 1.0))]
    found = changed(*(SuiteReport("s", "target", "f", tuple(items)) for items in (before, after)))
    assert found is not None
    assert (found.items, found.before, found.after, found.won, found.lost) == (2, 0.5, 1.0, 1, 0)
    assert found.difference.estimate == 0.5
    assert found.difference.lower < 0 < found.difference.upper
    assert changed(*(SuiteReport("s", "target", "f", tuple(items)) for items in (before[3:], after[3:]))) is None
