"""Which pairs an audit shows, what it keeps, and what it makes of the answers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from audit_runs import build_run, prompt, scored_group

from harness.agreement import cohen_kappa
from harness.audit import Audit, open_audit, outcome
from harness.audit_answers import LABELLING, Answers, blind_rows, import_answers, label_studio_tasks, prompt_text
from harness.audit_report import OUTCOMES, report, summarize
from harness.calibration import read_calibrations
from harness.errors import ConfigError, StoreError
from harness.types import Prompt


def length(text: str) -> float:
    return len(text) / 100


def vowels(text: str) -> float | None:
    return None if "?" in text else sum(c in "aeiou" for c in text) / 100


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """60 groups of three answers, and 80 items of which the candidate answers 60 otherwise, mostly at more length."""
    training = [
        scored_group(prompt(i), ["x" * (i % 7 + 1), "a" * (i % 5 + 1), "?" * (i % 3 + 1)], length=length, vowels=vowels)
        for i in range(60)
    ]
    before = [scored_group(prompt(100 + i), ["ab"], length=length, vowels=vowels) for i in range(80)]
    texts = ["ab" if i % 4 == 0 else "a" if i % 4 == 1 else f"abe{i}" for i in range(80)]
    after = [scored_group(prompt(100 + i), [text], length=length, vowels=vowels) for i, text in enumerate(texts)]
    return build_run(tmp_path / "r", training, [before, after])


def test_pairs_are_met_in_proportion_in_random_order_on_random_sides(run: Path) -> None:
    audit = open_audit(run, n=60, seed=3)

    def verdict(pair: Any) -> str | None:
        return outcome(pair.rewards)

    def stratum(pair: Any) -> tuple[str | None, str]:
        return verdict(pair), pair.prompt.metadata["category"]

    assert len(audit.pairs) == len({pair.id for pair in audit.pairs}) == 60
    for kind, slack in ((verdict, 1), (stratum, 3)):  # a category comes once in each tercile of a verdict
        drawn = Counter(map(kind, audit.pairs))
        for name, count in Counter(map(kind, audit.population)).items():
            assert abs(drawn[name] - 60 * count / len(audit.population)) <= slack
    assert 0.35 < sum(pair.swapped for pair in audit.population) / len(audit.population) < 0.65
    assert [stratum(pair) for pair in audit.pairs] != sorted(map(stratum, audit.pairs), key=str)


def test_an_audit_is_the_same_again_and_another_seed_is_another(run: Path) -> None:
    first = open_audit(run, n=20)
    assert open_audit(run).pairs == first.pairs
    assert open_audit(run, name="again", n=20, seed=0).pairs == first.pairs
    other = open_audit(run, name="other", n=20, seed=1)
    assert {pair.id for pair in other.pairs} != {pair.id for pair in first.pairs}
    with pytest.raises(ConfigError, match="begun with n = 20, not 30"):
        open_audit(run, n=30)
    with pytest.raises(ConfigError, match=r"no audit 'absent' was begun\. Begun: again, other, training-001"):
        open_audit(run, name="absent", must_exist=True)


def test_what_a_judge_does_not_know_is_not_asked_of_a_person_on_its_account(run: Path) -> None:
    by_reward, by_vowels = open_audit(run), open_audit(run, name="v", judge="vowels")
    assert any("?" in pair.a for pair in by_reward.population)
    assert not any("?" in pair.a + pair.b for pair in by_vowels.population)
    with pytest.raises(ConfigError, match=r"no judge 'vowel' was asked\. Did you mean vowels"):
        open_audit(run, name="w", judge="vowel")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"round": 7}, "round 7 has no scored groups"),
        ({"suite": "leters"}, "Did you mean letters"),
        ({"suite": "letters", "round": 2}, "round 2 has no candidate"),
        ({"n": 0}, "n = 0"),
        ({"name": "../x"}, "cannot be a file's name"),
    ],
    ids=str,
)
def test_what_is_not_there_is_refused_and_nothing_is_written(run: Path, asked: dict[str, Any], says: str) -> None:
    with pytest.raises((ConfigError, StoreError), match=says):
        open_audit(run, **asked)
    assert not (run / "audits").exists()


def test_demonstrations_leave_nothing_to_compare(tmp_path: Path) -> None:
    run = build_run(tmp_path / "r", [scored_group(prompt(i), ["gold"], length=length) for i in range(9)])
    with pytest.raises(ConfigError, match=r"no two answers to a prompt differ.*--suite"):
        open_audit(run)


def test_rewards_that_came_with_the_data_are_nobodys_verdicts(tmp_path: Path) -> None:
    groups = [scored_group(prompt(i), ["good", "bad"], length=length) for i in range(9)]
    run = build_run(tmp_path / "r", [replace(group, scores=((), ())) for group in groups])
    with pytest.raises(ConfigError, match="no judge was asked"):
        open_audit(run)


def test_of_a_suite_the_candidate_meets_the_incumbent(run: Path) -> None:
    audit = open_audit(run, suite="letters")
    assert (audit.name, audit.fingerprint, len(audit.population)) == ("letters-001", "f", 60)
    for pair in audit.population:
        assert (pair.b if pair.swapped else pair.a) == "ab"


# ---------------------------------------------------------------- answers


def test_answers_last_and_can_be_taken_back(run: Path) -> None:
    audit = open_audit(run)
    ids = [pair.id for pair in audit.pairs]
    answers = Answers(audit.answers, audit.pairs)
    answers.give(ids[0], "a")
    answers.note(ids[1], "hard")
    answers.give(ids[1], "tie")
    answers.undo()
    answers.give(ids[2], "skip")
    again = Answers(audit.answers, audit.pairs)
    assert (again.given, again.notes) == ({ids[0]: "a", ids[2]: "skip"}, {ids[1]: "hard"})
    with audit.answers.open("ab") as file:
        file.write(b'{"id": "torn')  # a crash
    torn = Answers(audit.answers, audit.pairs)
    assert torn.given == again.given
    torn.give(ids[3], "b")
    assert Answers(audit.answers, audit.pairs).given == {**again.given, ids[3]: "b"}
    with audit.answers.open("ab") as file:
        file.write(b'{"id": "of another audit", "answer": "a"}\n')
    with pytest.raises(StoreError, match=r"jsonl:7: damaged"):
        Answers(audit.answers, audit.pairs)


def test_what_goes_out_is_blind(run: Path) -> None:
    audit = open_audit(run, suite="letters")
    rows = blind_rows(audit)
    assert {tuple(row) for row in rows} == {("id", "prompt", "reference", "a", "b")}
    assert [row["id"] for row in rows] == [pair.id for pair in audit.pairs]


def test_rows_come_back(run: Path, tmp_path: Path) -> None:
    audit = open_audit(run)
    rows = [{**row, "answer": "a", "note": "why"} for row in blind_rows(audit)]
    file = tmp_path / "answers.jsonl"
    file.write_text("\n".join(map(json.dumps, [*rows[:5], {**rows[5], "answer": None}])))
    assert import_answers(audit, file).new == 5
    assert (import_answers(audit, file).new, import_answers(audit, file).known) == (0, 5)
    assert set(Answers(audit.answers, audit.pairs).notes.values()) == {"why"}
    before = audit.answers.read_bytes()
    for change, says in [
        ({"answer": "b"}, "says b of .*, of which a was said"),
        ({"answer": "A"}, "answer = 'A'"),
        ({"id": "0"}, "that of no pair of training-001"),
        ({"b": "other"}, "not those that id"),
    ]:
        file.write_text("\n".join(map(json.dumps, [rows[7], {**rows[0], **change}])))
        with pytest.raises(ConfigError, match=rf"answers\.jsonl:2: .*{says}"):
            import_answers(audit, file)
    assert audit.answers.read_bytes() == before


def label_studio_export(audit: Audit, picked: list[str]) -> list[dict[str, Any]]:
    """As Label Studio exports a project in JSON: with ids, times and fields of its own."""
    export = []
    for number, (task, choice) in enumerate(zip(label_studio_tasks(audit), picked, strict=False)):
        common = {"to_name": "prompt", "id": f"x{number}", "origin": "manual"}
        result = [{**common, "from_name": "answer", "type": "choices", "value": {"choices": [choice]}}]
        note = {**common, "from_name": "note", "type": "textarea", "value": {"text": [f"note {number}"]}}
        annotation = {"id": number, "completed_by": 1, "was_cancelled": False, "lead_time": 4.2, "ground_truth": False}
        cancelled = {**annotation, "was_cancelled": True, "result": []}
        done = {**annotation, "result": [*result, note]}
        export.append(
            {"id": 9 + number, "project": 1, **task, "annotations": [cancelled if choice == "skip" else done]}
        )
    return [*export, {"id": 99, **label_studio_tasks(audit)[-1], "annotations": []}]


def test_label_studio_there_and_back(run: Path, tmp_path: Path) -> None:
    audit = open_audit(run)
    file = tmp_path / "export.json"
    file.write_text(json.dumps(label_studio_export(audit, ["a", "b", "tie", "skip"])))
    assert import_answers(audit, file).new == 4
    answers = Answers(audit.answers, audit.pairs)
    assert [answers.given[pair.id] for pair in audit.pairs[:4]] == ["a", "b", "tie", "skip"]
    assert answers.notes[audit.pairs[1].id] == "note 1"
    file.write_text(json.dumps([{"id": 1, "prompt": "p", "answer": "a", "annotations": [{}]}]))
    with pytest.raises(ConfigError, match="not Label Studio's JSON export"):
        import_answers(audit, file)


def test_the_labelling_config_shows_what_the_tasks_hold_and_asks_what_is_read(run: Path) -> None:
    root = ElementTree.fromstring(LABELLING)
    shown = {element.get("value", "").removeprefix("$") for element in root.iter("Text")}
    names = {element.get("name") for element in root.iter("Text")}
    [task] = {tuple(task["data"]) for task in label_studio_tasks(open_audit(run))}
    assert shown == set(task) - {"pair"}
    controls = [*root.iter("Choices"), *root.iter("TextArea")]
    assert {element.get("name") for element in controls} == {"answer", "note"}
    assert {element.get("toName") for element in controls} <= names
    assert {element.get("value") for element in root.iter("Choice")} == set(OUTCOMES)


def test_a_prompt_as_text(run: Path) -> None:
    pair = open_audit(run).pairs[0]
    assert prompt_text(pair) == pair.prompt.messages[0]["content"]
    messages = ({"role": "system", "content": "be brief"}, {"role": "assistant", "content": None, "tool_calls": [1]})
    asked = Prompt("x", messages, tools='[{"name": "f"}]')
    [pair] = open_audit(build_run(run.parent / "chat", [scored_group(asked, ["a", "bb"], length=length)])).pairs
    assert prompt_text(pair).split("\n\n") == [
        "system: be brief",
        'assistant: {"content": null, "tool_calls": [1]}',
        'tool: {"name": "f"}',
    ]


# ---------------------------------------------------------------- figures


def test_figures_of_answers_that_follow_one_judge(run: Path) -> None:
    """A person who goes by length alone, and likes it longer: full agreement with one judge, little with the other."""
    audit = open_audit(run, suite="letters", n=30)
    answers = Answers(audit.answers, audit.pairs)
    for pair in audit.pairs[:-2]:
        answers.give(pair.id, outcome(pair.values("length")) or "skip")  # type: ignore[arg-type]
    answers.give(audit.pairs[-1].id, "skip")
    found = report(audit, answers)
    assert (found.pairs, found.answered, found.skipped, found.population) == (30, 28, 1, 60)
    by_name = {judge.judge: judge for judge in found.judges}
    kappa = by_name["length"].kappa
    assert kappa is not None
    assert (by_name["length"].agreement, kappa.estimate) == (1.0, 1.0)
    pairs = [(answers.given[p.id], str(outcome(p.values("vowels")))) for p in audit.pairs[:-2]]
    expected = cohen_kappa(pairs, [p.cluster for p in audit.pairs[:-2]], OUTCOMES, alpha=0.025)
    assert by_name["vowels"].kappa == expected
    # Of the 60 items that differ, the candidate's answer is the longer on 40.
    assert by_name["length"].judged.estimate == pytest.approx(2 / 3)  # type: ignore[union-attr]
    for rate in (by_name["length"].judged, found.human, by_name["length"].corrected.interval):  # type: ignore[union-attr]
        assert rate is not None
        assert rate.lower < 2 / 3 < rate.upper
    assert by_name["length"].corrected.weight > 0.3  # type: ignore[union-attr]
    summarize(audit, found)
    kept = {c.judge: c for c in read_calibrations(audit.summary)}
    assert (kept["length"].kappa, kept["length"].n, kept["length"].fingerprint) == (1.0, 28, "f")
    assert kept["vowels"].lower == expected.lower  # type: ignore[union-attr]


def test_a_person_who_always_says_a_is_seen_to(run: Path) -> None:
    audit = open_audit(run, n=30)
    answers = Answers(audit.answers, audit.pairs)
    for pair in audit.pairs:
        answers.give(pair.id, "a")
    found = report(audit, answers)
    assert found.a_share is not None
    assert found.a_share.lower > 0.7
    kappa = found.judges[0].kappa
    assert kappa is not None
    assert kappa.estimate == pytest.approx(0.0)
    assert found.human is None  # siblings have no candidate among them


def test_before_any_answer_nothing_is_claimed(run: Path) -> None:
    audit = open_audit(run, suite="letters")
    found = report(audit, Answers(audit.answers, audit.pairs))
    assert (found.a_share, found.human) == (None, None)
    assert all((judge.kappa, judge.agreement, judge.corrected) == (None, None, None) for judge in found.judges)
    assert {c.kappa for c in summarize(audit, found)} == {None}
